// Loaded before tests on a software adapter: it passes for a GPU, so that the tests run the kernels
// and the code that a GPU runs.

for (const [name, value] of Object.entries({ isFallbackAdapter: false, description: "a GPU" })) {
  Object.defineProperty(GPUAdapterInfo.prototype, name, { get: () => value });
}
