// The networks that can be looked through: those that come with the page, fetched when they are first
// wanted, and one that a visitor opens.

import { type Gpu, networkFromBytes, type NetworkInMemory } from "@proda/webgpu";
import { type NetworkInfo, type NetworkName, SHIPPED } from "../protocol.ts";

/** Opened networks by name. */
export class Networks {
  readonly #gpu: Gpu;
  readonly #base: string;
  readonly #opened = new Map<NetworkName, Promise<NetworkInMemory>>();

  /** `base` is the address of the page. */
  constructor(gpu: Gpu, base: string) {
    this.#gpu = gpu;
    this.#base = base;
  }

  /** A network, opened at most once. */
  get(name: NetworkName): Promise<NetworkInMemory> {
    const known = this.#opened.get(name);
    if (known) return known;
    const isShipped = (SHIPPED as readonly string[]).includes(name);
    if (!isShipped) {
      return Promise.reject(new Error(`There is no network "${name}" yet.`));
    }
    const opening = this.load(name);
    this.#opened.set(name, opening);
    opening.catch(() => this.#opened.delete(name)); // to be tried again
    return opening;
  }

  /** A copy of a network that comes with the page, the caller's to dispose. */
  async load(name: NetworkName): Promise<NetworkInMemory> {
    const file = `${name}.safetensors`;
    const answer = await fetch(new URL(`networks/${file}`, this.#base));
    if (!answer.ok) {
      throw new Error(`Cannot fetch ${file}: the server says ${answer.status}.`);
    }
    return await networkFromBytes(this.#gpu, new Uint8Array(await answer.arrayBuffer()), file);
  }

  /** Opens a visitor's network in the place of the one before. */
  async open(bytes: Uint8Array<ArrayBuffer>, name: string): Promise<NetworkInfo> {
    const opened = await networkFromBytes(this.#gpu, bytes, name);
    const before = this.#opened.get("own");
    this.#opened.set("own", Promise.resolve(opened));
    (await before)?.[Symbol.dispose]();
    const { classes: { names, palette, labelIds }, stage, step } = opened;
    return { classes: { names, palette, labelIds }, stage, step };
  }
}
