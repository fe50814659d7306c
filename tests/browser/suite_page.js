// In the page: the names of Deno that tests use, and the tests of a file, run one after another.

const tests = [];

/** What tests get in the place of Deno's global; the library sees none, as in any page. */
export const Deno = {
  test(first, second) {
    const test = typeof first === "object" ? first : { name: first, fn: second };
    tests.push({ ...test, name: test.name ?? test.fn.name });
  },
  readFileSync(url) {
    return Uint8Array.from(fetched(url), (character) => character.charCodeAt(0) & 255);
  },
  readTextFileSync(url) {
    return new TextDecoder().decode(Deno.readFileSync(url));
  },
};

/** The bytes at an address, each as a character: a page cannot wait for them in another form. */
function fetched(url) {
  const request = new XMLHttpRequest();
  request.open("GET", url, false);
  request.overrideMimeType("text/plain; charset=x-user-defined");
  request.send();
  if (request.status !== 200) {
    throw new Error(`Cannot read ${url} as it is not served`);
  }
  return request.responseText;
}

/**
 * Runs the tests that a module registers.
 *
 * @param {string} module Its address.
 * @param {string} filter Part of the names of tests to run.
 * @param {(event: object) => Promise<void>} report
 */
export async function run(module, filter, report) {
  await import(module);
  const chosen = tests.filter(({ name }) => name.includes(filter));
  await report({ count: chosen.length });
  for (const { name, fn, ignore } of chosen) {
    await report({ name });
    if (ignore) {
      await report({ ignored: true });
      continue;
    }
    const start = performance.now();
    let error;
    try {
      await fn({ name });
    } catch (thrown) {
      error = thrown instanceof Error ? thrown.stack : `${thrown}`;
    }
    await report({ error, milliseconds: performance.now() - start });
  }
}
