// Which colour is which class.

import type { Classes } from "../protocol.ts";
import { css } from "./classes.ts";
import { make } from "./dom.ts";

/** Fills a list with the classes of a network. */
export function showLegend(list: HTMLElement, { names, palette }: Classes): void {
  list.replaceChildren(...names.map((name, index) => {
    const swatch = make("span", "swatch");
    swatch.style.background = css(palette[index]);
    return make("li", "", swatch, name);
  }));
}
