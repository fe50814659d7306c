// Loaded before tests on a software adapter: it passes for a GPU, so that the tests run the kernels and
// the code that a GPU runs.

Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { get: () => false });
