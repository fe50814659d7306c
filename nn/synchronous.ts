// Functions that run another one in a state of their own, such as `noGrad`, cannot take an async
// one: it returns at its first await, and the state would be over before the rest has run.

/**
 * What a function may return that runs to its end at once: anything but a promise. A function of
 * your own that passes a `fn` on to such as `scope` declares it as `() => Synchronous<T>` too.
 */
export type Synchronous<T> = T extends PromiseLike<unknown> ? never : T;

/**
 * What a function has returned, unless that is a promise.
 *
 * @param name Which function would have run it, for the error.
 * @param otherwise What would go wrong, for the error.
 * @throws {TypeError} If it is a promise, or anything else with a `then`.
 */
export function refusePromise<T>(name: string, otherwise: string, result: T): T {
  if (!isPromise(result)) return result;
  // The function goes on after its await, without what it needs: only this error shall be heard.
  result.then(undefined, () => {});
  throw new TypeError(
    `Cannot run ${name} on a function that returns a promise as ${otherwise}: give it one that is not ` +
      `async, and await before or after it`,
  );
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return value !== null && (typeof value === "object" || typeof value === "function") &&
    "then" in value && typeof value.then === "function";
}
