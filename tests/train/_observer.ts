import type { TrainingObserver } from "../../train/run/observer.ts";

/** Hears of a training and says nothing. */
export const SILENT: TrainingObserver = {
  stageStart: () => {},
  step: () => {},
  evaluation: () => {},
  stageEnd: () => {},
  message: () => {},
};
