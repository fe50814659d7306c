// Elements: found by their id, or made.

/** The element of the page with this id. */
export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  const element = document.getElementById(id);
  if (!element) throw new Error(`The page has no element "${id}"`);
  return element as E;
}

/** Makes an element with a class, and puts texts and elements into it. */
export function make<T extends keyof HTMLElementTagNameMap>(
  tag: T,
  className: string,
  ...children: (string | Node)[]
): HTMLElementTagNameMap[T] {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** A group of choices, of which one is made. */
export class Choice<V extends string> {
  readonly #inputs = new Map<V, HTMLInputElement>();

  /**
   * Fills a field set with the choices.
   *
   * @param onChange Hears of another choice than before.
   */
  constructor(
    group: HTMLElement,
    name: string,
    options: readonly (readonly [value: V, text: string])[],
    onChange: (value: V) => void,
  ) {
    for (const [value, text] of options) {
      const input = make("input", "");
      Object.assign(input, { type: "radio", name, value });
      input.addEventListener("change", () => onChange(value));
      this.#inputs.set(value, input);
      group.append(make("label", "choice", input, make("span", "", text)));
    }
    this.value = options[0][0];
  }

  /** What is chosen. */
  get value(): V {
    for (const [value, { checked }] of this.#inputs) if (checked) return value;
    throw new Error("Nothing is chosen");
  }

  /** Chooses without a word to those who listen. */
  set value(value: V) {
    const input = this.#inputs.get(value);
    if (input) input.checked = true;
  }

  /** Offers a choice, or takes it away. */
  enable(value: V, isEnabled: boolean): void {
    const input = this.#inputs.get(value);
    if (!input) return;
    input.disabled = !isEnabled;
    input.parentElement?.toggleAttribute("data-disabled", !isEnabled);
  }
}

/** A number for people. */
export function shown(value: number | null | undefined, digits = 1): string {
  return value === null || value === undefined || !Number.isFinite(value)
    ? "–"
    : value.toFixed(digits);
}

/** What went wrong, in a sentence. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
