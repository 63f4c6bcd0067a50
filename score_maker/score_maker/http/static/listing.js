// Pages of a listing, one after another by its cursor.

const LONGEST_PAGE = 200;

/** The items of `fetchPage({ limit, cursor }, signal)`, which resolves to `{ items, next_cursor }`. */
export class Listing {
  items = [];
  isLoading = false;
  /** Why the last attempt to load failed. */
  problem = null;
  #cursor = null;
  #isLoaded = false;
  #underWay = null;

  constructor({ pageSize, fetchPage, onChange }) {
    this.pageSize = pageSize;
    this.fetchPage = fetchPage;
    this.onChange = onChange;
  }

  get isLoaded() {
    return this.#isLoaded;
  }

  get hasMore() {
    return this.#cursor !== null;
  }

  /** The first page of something else; what is shown stays until it is there. */
  async restart() {
    this.#isLoaded = false;
    await this.#load({ limit: this.pageSize }, (page) => page.items);
  }

  async more() {
    if (this.isLoading || !this.hasMore) return;
    await this.#load({ limit: this.pageSize, cursor: this.#cursor }, (page) => {
      const known = new Set(this.items);
      return [...this.items, ...page.items.filter((item) => !known.has(item))];
    });
  }

  /** All that is shown, anew. Throws a Problem. */
  async refresh() {
    const limit = Math.min(Math.max(this.items.length, this.pageSize), LONGEST_PAGE);
    await this.#load({ limit }, (page) => page.items);
    if (this.problem) throw this.problem;
  }

  async #load(parameters, merge) {
    this.#underWay?.abort();
    const underWay = (this.#underWay = new AbortController());
    this.isLoading = true;
    this.onChange();
    try {
      const page = await this.fetchPage(parameters, underWay.signal);
      if (underWay.signal.aborted) return;
      this.items = merge(page);
      this.#cursor = page.next_cursor;
      this.#isLoaded = true;
      this.problem = null;
    } catch (problem) {
      if (underWay.signal.aborted) return;
      this.problem = problem;
    }
    this.isLoading = false;
    this.onChange();
  }
}
