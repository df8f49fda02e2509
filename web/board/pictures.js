// Pictures of candidates in the best form there is: the finished image, the large picture, the small one meanwhile.
import { set } from "./dom.js";

const MOST = 32;

/** Pictures of one board's rows. */
export class Pictures {
  /** `ask(row)` returns a promise of the URL of a row's large picture, or of null. */
  constructor(ask) {
    this.ask = ask;
    this.large = new Map(); // by the small picture, so that a later one is not shown as an earlier one
  }

  /** Shows a row in an `img`; `image` is its finished image, if there is one. */
  async show(img, row, image) {
    const small = row.picture;
    const known = image?.url ?? this.large.get(small) ?? small;
    img.wanted = small;
    set(img, "hidden", known === null);
    if (image) img.onerror = () => set(img, "src", small); // its file is gone
    else img.onerror = null;
    set(img, "src", known);
    if (image || small === null || this.large.has(small)) return;
    const url = await this.ask(row.row).catch(() => null);
    if (url === null) return;
    this.large.set(small, url);
    if (this.large.size > MOST) this.large.delete(this.large.keys().next().value);
    if (img.wanted === small && img.onerror === null) set(img, "src", url);
  }
}
