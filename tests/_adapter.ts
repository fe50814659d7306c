// The machine's adapter under false colours.

/** What the adapter pretends to be. */
export interface Pretence {
  /** Whether it says that it is software. */
  readonly isFallback: boolean;
  /** Whether it has timestamp queries, where the machine's own has them; it does unless given. */
  readonly hasTimestamps?: boolean;
}

/** Lets programs see the adapter as something else, until what is returned is disposed. */
export function pretend({ isFallback, hasTimestamps = true }: Pretence): Disposable {
  const { gpu } = navigator;
  const request = gpu.requestAdapter;
  gpu.requestAdapter = async (options) => {
    const adapter = await request.call(gpu, options);
    if (!adapter) return null;
    const { vendor, architecture, device, description } = adapter.info;
    const info = { vendor, architecture, device, description, isFallbackAdapter: isFallback };
    Object.defineProperty(adapter, "info", { value: info });
    if (!hasTimestamps) {
      const features = [...adapter.features].filter((name) => name !== "timestamp-query");
      Object.defineProperty(adapter, "features", { value: new Set(features) });
    }
    return adapter;
  };
  return { [Symbol.dispose]: () => void (gpu.requestAdapter = request) };
}
