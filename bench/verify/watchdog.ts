// How much work one submit may hold: systems take the GPU away from what keeps it for seconds.

import { BareGpu, MultiplyAdds } from "./bare_gpu.ts";
import { digits, row, runPart, tableHead } from "./part.ts";

/** Seconds of work in one submit. */
const SIZES = [0.3, 1, 3] as const;
/** Milliseconds that one of its dispatches takes. */
const DISPATCH = 20;
/** Milliseconds after the submit within which a loss is waited for. */
const WAIT = 500;

await runPart(async (part) => {
  const rate = part.number("fma");
  if (!(rate > 0 && rate < 1e15)) {
    part.conclude("the adapter's rate is not known, so that work cannot be sized", "skipped");
    return;
  }
  part.say(tableHead("work of one submit", "took, s", "result"));
  const survived: number[] = [];
  for (const seconds of SIZES) {
    if (part.left < 2 * seconds + 2) {
      part.skip(`${seconds} s, as there is no time left`);
      break;
    }
    const gpu = await BareGpu.open();
    try {
      const kernel = new MultiplyAdds(gpu);
      const { flops } = await kernel.run(4);
      const rounds = Math.max(4, Math.round(4 * rate * DISPATCH / 1000 / flops));
      const dispatches = Math.max(1, Math.round(rate * seconds / (flops / 4 * rounds)));
      const started = performance.now();
      let result = "right";
      let took = NaN;
      try {
        const run = await kernel.run(rounds, dispatches);
        took = run.wall / 1000;
        if (!run.isRight) {
          result = "wrong numbers";
          part.wrong(`a submit of ${seconds} s gives wrong numbers`);
        }
      } catch (error) {
        result = (error as Error).message;
        took = (performance.now() - started) / 1000;
        await new Promise((resolve) => setTimeout(resolve, WAIT));
        if (gpu.lost) result += `, noticed after ${digits((gpu.lost.at - started) / 1000)} s`;
      }
      part.say(row(`${seconds} s`, digits(took), result));
      if (result === "right") survived.push(seconds);
      else break;
    } finally {
      gpu.device.destroy();
    }
  }
  const most = survived.at(-1);
  if (most === undefined) part.conclude(`no submit of ${SIZES[0]} s was survived`, "failed");
  else if (survived.length < SIZES.length) part.conclude(`submits of up to ${most} s are survived`);
  else part.conclude(`a submit of ${most} s is survived`);
});
