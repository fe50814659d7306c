// Where the pictures of the page come from: a worker that computes them.

import type { Calls, Reply, Request, TrainingEvent } from "../protocol.ts";

/** Makes what the page shows. */
export interface Studio {
  /** Asks for something; the memory of pictures stays the caller's. */
  ask<N extends keyof Calls>(name: N, argument: Calls[N]["asks"]): Promise<Calls[N]["answers"]>;
  /** Hears of the training. */
  listen(listener: (event: TrainingEvent) => void): void;
}

/** A studio whose worker has the GPU. */
export class LiveStudio implements Studio {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #listeners: ((event: TrainingEvent) => void)[] = [];
  #lastId = 0;
  #failure: Error | null = null;

  /** Starts the worker. */
  constructor() {
    this.#worker = new Worker(new URL("../worker/main.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<Reply>) => this.#receive(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      const message = event.message || "its code could not be loaded";
      this.#fail(new Error(`The worker of this page has stopped: ${message}`));
    };
  }

  /** See {@link Studio.ask}. */
  ask<N extends keyof Calls>(name: N, argument: Calls[N]["asks"]): Promise<Calls[N]["answers"]> {
    if (this.#failure) return Promise.reject(this.#failure);
    const id = ++this.#lastId;
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(id, waiting);
    this.#worker.postMessage({ id, name, argument } satisfies Request<N>);
    return waiting.promise as Promise<Calls[N]["answers"]>;
  }

  /** See {@link Studio.listen}. */
  listen(listener: (event: TrainingEvent) => void): void {
    this.#listeners.push(listener);
  }

  #receive(reply: Reply): void {
    if ("event" in reply) {
      for (const listener of this.#listeners) listener(reply.event);
      return;
    }
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if ("error" in reply) waiting?.reject(new Error(reply.error));
    else waiting?.resolve(reply.answer);
  }

  #fail(error: Error): void {
    this.#failure = error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    for (const listener of this.#listeners) {
      listener({ kind: "failed", message: error.message });
    }
  }
}
