// Starts the page: a worker where there is WebGPU, and otherwise the recorded run.

import { Comparison } from "./compare.ts";
import { STREETS } from "./classes.ts";
import { byId, messageOf, shown } from "./dom.ts";
import { Inspector } from "./inspect.ts";
import { showLegend } from "./legend.ts";
import { LiveStudio, type Studio } from "./studio.ts";
import { TrainingPanel } from "./training_panel.ts";
import { adviceFor } from "./webgpu_advice.ts";

/** What the shipped networks reach on 100 streets, mIoU in percent; the build puts it here. */
declare const MEASURED: Readonly<Record<"source" | "stage3", number>>;

/** Beyond those that a training is scored on. */
const FIRST_STREET = 35;

showLegend(byId("compare-legend"), STREETS);
byId("before-mean").textContent = shown(MEASURED.source);
byId("after-mean").textContent = shown(MEASURED.stage3);
const { studio, order, isSoftware, isRecorded } = await openStudio();
const inspector = new Inspector(studio);
const comparison = new Comparison(studio, order, (error) => {
  if (!isRecorded) complain(error);
});
const panel = new TrainingPanel(studio, (isThere) => inspector.adaptedChanged(isThere));
panel.length = isSoftware ? "short" : "full";
await comparison.next();
await inspector.nextStreet();
document.documentElement.dataset.ready = "";

/** The adapter of this browser, or what was recorded. */
async function openStudio(): Promise<{
  readonly studio: Studio;
  readonly order: readonly number[];
  readonly isSoftware: boolean;
  readonly isRecorded: boolean;
}> {
  const adapter = byId("adapter");
  try {
    const advice = await adviceFor(navigator, globalThis.isSecureContext);
    if (advice !== null) throw new Error(advice);
    const studio = new LiveStudio();
    const { name, isSoftware } = await studio.ask("open", { base: document.baseURI });
    adapter.textContent = isSoftware
      ? `Software adapter (${name}): a processor computes in the place of a GPU. Everything works, ` +
        `slowly; a training makes fewer steps.`
      : `GPU: ${name}`;
    adapter.classList.toggle("software", isSoftware);
    const order = Array.from({ length: 1000 }, (_, at) => at + FIRST_STREET);
    return { studio, order, isSoftware, isRecorded: false };
  } catch (error) {
    complain(error);
    adapter.textContent = "You see a recorded run: pictures that were computed elsewhere.";
    adapter.classList.add("software");
    document.documentElement.dataset.recorded = "";
    const { RecordedStudio } = await import("./recorded_studio.ts");
    const studio = await RecordedStudio.open(document.baseURI);
    return { studio, order: studio.streets, isSoftware: false, isRecorded: true };
  }
}

/** Says above all what is wrong, or that nothing is any more. */
function complain(error: unknown): void {
  const banner = byId("banner");
  banner.hidden = error === null;
  if (error !== null) banner.textContent = messageOf(error);
}
