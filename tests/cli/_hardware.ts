// Loaded before a program: lets it take the machine's adapter for a GPU, whatever it is.

const { gpu } = navigator;
const request = gpu.requestAdapter.bind(gpu);
gpu.requestAdapter = async (options) => {
  const adapter = await request(options);
  if (!adapter) return null;
  const { vendor, architecture, device, description } = adapter.info;
  const info = { vendor, architecture, device, description, isFallbackAdapter: false };
  return Object.defineProperty(adapter, "info", { value: info });
};
