import assert from "node:assert/strict";
import { join } from "node:path";
import { together, type TrainingObserver } from "../../../train/run/observer.ts";
import { eventRecord, TensorBoardLog } from "../../../train/run/tensorboard.ts";
import { namesIn, withFolder } from "../_folder.ts";
import { imagePng, write } from "../_png.ts";

/** A message of protocol buffers as a list of fields, read from the definition of the format. */
type Field = [number: number, value: bigint | Uint8Array];

function fields(bytes: Uint8Array): Field[] {
  const found: Field[] = [];
  let at = 0;
  const integer = (): bigint => {
    let value = 0n;
    for (let shift = 0n;; shift += 7n) {
      const byte = BigInt(bytes[at++]);
      value |= (byte & 127n) << shift;
      if (byte < 128n) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(integer());
    const type = key & 7;
    if (type === 0) {
      found.push([key >> 3, integer()]);
      continue;
    }
    const length = type === 1
      ? 8
      : type === 5
      ? 4
      : type === 2
      ? Number(integer())
      : assert.fail(`type ${type}`);
    assert.ok(at + length <= bytes.length);
    found.push([key >> 3, bytes.subarray(at, at + length)]);
    at += length;
  }
  return found;
}

const message = (list: Field[], number: number): Uint8Array => {
  const value = list.find(([found]) => found === number)?.[1];
  return value instanceof Uint8Array ? value : assert.fail(`no bytes in field ${number}`);
};
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const float = (bytes: Uint8Array) => new DataView(bytes.slice().buffer).getFloat32(0, true);

/** CRC-32C bit by bit, then masked, as the description of the format has it. */
function masked(bytes: Uint8Array): number {
  let crc = 0xffffffffn;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? crc >> 1n ^ 0x82f63b78n : crc >> 1n;
  }
  crc ^= 0xffffffffn;
  return Number(((crc >> 15n | crc << 17n) + 0xa282ead8n) & 0xffffffffn);
}

function events(bytes: Uint8Array): Field[][] {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const found = [];
  for (let at = 0; at < bytes.length;) {
    const length = Number(view.getBigUint64(at, true));
    assert.equal(view.getUint32(at + 8, true), masked(bytes.subarray(at, at + 8)));
    const data = bytes.subarray(at + 12, at + 12 + length);
    assert.equal(view.getUint32(at + 12 + length, true), masked(data));
    found.push(fields(data));
    at += 16 + length;
  }
  return found;
}

Deno.test("a record is framed by the checksum of RFC 3720's vector", () => {
  // 32 bytes of zeros have the CRC-32C 8a9136aa.
  const record = eventRecord(new Uint8Array(32));
  const expected = ((0x8a9136aa >>> 15 | 0x8a9136aa << 17) + 0xa282ead8) >>> 0;
  assert.equal(new DataView(record.buffer).getUint32(44, true), expected);
  assert.equal(record.length, 48);
});

Deno.test("an independent reader finds losses, scores and pictures", () =>
  withFolder((folder) => {
    const picture = imagePng(90, 12, 7);
    write(join(folder, "samples", "source.png"), picture);
    {
      using log = new TensorBoardLog(folder, () => 1_700_000_000_500);
      assert.deepEqual(namesIn(folder), ["samples"], "nothing is opened before a stage starts");
      const heard: string[] = [];
      const other: TrainingObserver = {
        stageStart: ({ name }) => heard.push(`start ${name}`),
        step: ({ step }) => heard.push(`step ${step}`),
        evaluation: ({ step }) => heard.push(`evaluation ${step}`),
        stageEnd: ({ name }) => heard.push(`end ${name}`),
        message: (text) => heard.push(text),
      };
      const both = together(other, log);
      both.message("hello");
      both.stageStart({ name: "source", steps: 300, firstStep: 0 });
      const rest = { steps: 300, stepsPerSecond: 1 };
      both.step({
        stage: "source",
        step: 200,
        losses: { source: 0.5, größe: -2 },
        learningRate: 0.25,
        ...rest,
      });
      both.evaluation({
        stage: "source",
        step: 300,
        mIoU: 33.5,
        classIoU: { road: 50, sky: null },
        pixelAccuracy: NaN,
        source: { mIoU: 75, classIoU: { road: 80, sky: null }, pixelAccuracy: 90.5 },
      });
      both.stageEnd({
        name: "source",
        steps: 300,
        mIoU: 33.5,
        classIoU: {},
        pixelAccuracy: NaN,
        seconds: 1,
      });
      both.stageEnd({
        name: "warmup",
        steps: 1,
        mIoU: 33.5,
        classIoU: {},
        pixelAccuracy: NaN,
        seconds: 1,
      });
      assert.deepEqual(heard, [
        "hello",
        "start source",
        "step 200",
        "evaluation 300",
        "end source",
        "end warmup",
      ]);
    }
    assert.deepEqual(namesIn(folder), ["events.out.tfevents.1700000000500.proda", "samples"]);
    const [version, ...rest] = events(Deno.readFileSync(join(folder, namesIn(folder)[0])));
    assert.equal(text(message(version, 3)), "brain.Event:2");
    assert.equal(
      new DataView(message(version, 1).slice().buffer).getFloat64(0, true),
      1_700_000_000.5,
    );
    const summaries = rest.map((event) => ({
      step: event.find(([number]) => number === 2)?.[1],
      values: fields(message(event, 5)).map(([number, value]) => {
        assert.equal(number, 1);
        return fields(value as Uint8Array);
      }),
    }));
    const scalars = (index: number) =>
      summaries[index].values.map((value) => [text(message(value, 1)), float(message(value, 2))]);
    assert.deepEqual(summaries.map(({ step }) => step), [200n, 300n, 300n]);
    assert.deepEqual(scalars(0), [["source/loss/source", 0.5], ["source/loss/größe", -2], [
      "source/learning rate",
      0.25,
    ]]);
    assert.deepEqual(scalars(1), [
      ["source/mIoU", 33.5],
      ["source/IoU/road", 50],
      ["source/source/mIoU", 75],
      ["source/source/pixel accuracy", 90.5],
      ["source/source/IoU/road", 80],
    ]);
    const [value] = summaries[2].values;
    assert.equal(text(message(value, 1)), "source/samples");
    const image = fields(message(value, 4));
    assert.deepEqual(image.slice(0, 3), [[1, 7n], [2, 12n], [3, 3n]]);
    assert.deepEqual(message(image, 4), new Uint8Array(picture));
  }));
