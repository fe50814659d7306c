import assert from "node:assert/strict";
import {
  parseBytes,
  parseCount,
  parseImages,
  parseName,
  parseNames,
  parseSeed,
  parseSide,
  parseTime,
} from "../../cli/values.ts";
import { nearest } from "../../train/base/nearest.ts";

Deno.test("sizes are read in binary and decimal units", () => {
  assert.equal(parseBytes("2GiB"), 2 * 2 ** 30);
  assert.equal(parseBytes("1.5g"), 1.5 * 2 ** 30);
  assert.equal(parseBytes("500 MB"), 500e6);
  assert.equal(parseBytes("4096"), 4096);
});

Deno.test("sizes that are none are refused", () => {
  for (const text of ["", "GiB", "-1", "0", "2 apples", "1e9", "Infinity", "0.1"]) {
    assert.throws(() => parseBytes(text), /expected a size/, text);
  }
});

Deno.test("times are read in hours, minutes and seconds", () => {
  assert.equal(parseTime("40m"), 2400);
  assert.equal(parseTime("2h"), 7200);
  assert.equal(parseTime("1h30m"), 5400);
  assert.equal(parseTime("1.5h"), 5400);
  assert.equal(parseTime(" 90s "), 90);
  for (const text of ["", "40", "m", "0m", "-1h", "30m1h", "1d", "1e9h", "0.1s"]) {
    assert.throws(() => parseTime(text), /expected a time such as 40m, 2h or 1h30m/, text);
  }
});

Deno.test("counts are whole numbers from 1, seeds from 0", () => {
  assert.equal(parseCount("12"), 12);
  assert.equal(parseSeed("0"), 0);
  for (const text of ["0", "-1", "1.5", "", " ", "NaN", "1e400", "9007199254740993"]) {
    assert.throws(() => parseCount(text), /whole number of at least 1/, text);
  }
  assert.throws(() => parseSeed("-1"), /whole number of at least 0/);
  assert.throws(() => parseSide("1e11"), /whole number of at most 65536/);
  assert.throws(() => parseImages("1e12"), /whole number of at most 100000/);
});

Deno.test("names must be known, and the error suggests the nearest", () => {
  const parse = parseName(["gta5", "cityscapes"]);
  assert.equal(parse("gta5"), "gta5");
  assert.throws(() => parse("cityscape"), /did you mean cityscapes\?/);
  assert.throws(() => parse("kitti"), (error: Error) => !error.message.includes("did you mean"));
  assert.deepEqual(parseNames(["a", "b"])("b, a"), ["b", "a"]);
});

Deno.test("the nearest name forgives a slip or two and no more", () => {
  const names = ["temperature", "alpha", "beta", "gamma1", "gamma2"];
  assert.equal(nearest("temprature", names), "temperature");
  assert.equal(nearest("Alpha", names), "alpha");
  assert.equal(nearest("aplha", names), "alpha");
  assert.equal(nearest("gama2", names), "gamma2");
  assert.equal(nearest("momentum", names), null);
  assert.equal(nearest("x", []), null);
});
