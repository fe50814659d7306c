/**
 * The Earth by day, where land and water are labelled, to the Earth by night, where nobody has
 * labelled anything. One command fetches three pictures, cuts them into tiles, and trains; further
 * flags are those of `train`:
 *
 *     ./run earth
 *
 * It is a configuration like any other: what it leaves out comes from the preset. For images of your own
 * copy it, and name your folders; `./run train --config FILE` trains.
 */
import { DataError } from "../train/base/data_error.ts";
import { exists } from "../train/base/folders.ts";

if (!exists("data/earth")) {
  throw new DataError(
    "Cannot train on the Earth as folder data/earth does not exist: expected its tiles; " +
      "./run earth fetches them, then trains",
  );
}

export default {
  data: {
    sourceDirectory: "data/earth/source",
    sourceLayout: "folder",
    targetDirectory: "data/earth/target",
    targetLayout: "folder",
    cropWidth: 128,
    cropHeight: 128,
  },
  stages: {
    source: { steps: 200, scheduleSteps: 200 },
    warmup: { steps: 80, scheduleSteps: 80 },
    stage1: { steps: 200, scheduleSteps: 200 },
    stage2: { steps: 100, scheduleSteps: 100 },
    stage3: { steps: 100, scheduleSteps: 100 },
  },
};
