// Opens a folder's index.html in headless Chromium, waits for the promise `globalThis.outcome` of the page,
// and prints what it gives as JSON: `node open.mjs FOLDER`. Any error on the page ends it with status 1.

import { withChromium } from "./chromium.mjs";
import { serve } from "./serve.mjs";

const [folder] = process.argv.slice(2);
const server = await serve(folder);
try {
  const outcome = await withChromium(async (context) => {
    const page = await context.newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(error.stack ?? error.message));
    page.on(
      "requestfailed",
      (request) => errors.push(`${request.url()} cannot be loaded`),
    );
    page.on("console", (message) => {
      if (message.type() === "error") errors.push(message.text());
    });
    await page.goto(server.url);
    await page.waitForFunction(() => "outcome" in globalThis, null, {
      timeout: 20_000,
    }).catch(
      () => {}, // what the page says is the better message
    );
    const outcome = await page.evaluate(() => globalThis.outcome);
    if (errors.length > 0) throw new Error(errors.join("\n"));
    return outcome;
  });
  console.log(JSON.stringify(outcome));
} finally {
  server.close();
}
