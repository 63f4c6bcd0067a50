// Pages of a listing, one after another by its cursor.

// More than that the API does not give at once.
const LONGEST_PAGE = 1_000;

/** The items of `fetchPage({ limit, cursor }, signal)`, which resolves to `{ items, next_cursor }`. Loads come one after
 * another, so that a page is always added to the list that its cursor is of. */
export class Listing {
  items = [];
  isLoading = false;
  /** Why the last attempt to load failed. */
  problem = null;
  #cursor = null;
  #isLoaded = false;
  #isMoreAsked = false;
  #underWay = new AbortController();
  #loads = Promise.resolve();

  constructor({ pageSize, longestPage = LONGEST_PAGE, fetchPage, onChange }) {
    this.pageSize = pageSize;
    this.longestPage = longestPage;
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
  restart() {
    this.#underWay.abort();
    this.#underWay = new AbortController();
    this.#isLoaded = false;
    return this.#load(() => ({ limit: this.pageSize }), (page) => page.items);
  }

  async more() {
    if (this.#isMoreAsked || !this.hasMore) return;
    this.#isMoreAsked = true;
    await this.#load(
      () => ({ limit: this.pageSize, cursor: this.#cursor }),
      (page) => {
        const known = new Set(this.items);
        return [...this.items, ...page.items.filter((item) => !known.has(item))];
      },
    );
    this.#isMoreAsked = false;
  }

  /** All that is shown, anew. Throws a Problem. */
  async refresh() {
    await this.#load(
      () => ({ limit: Math.min(Math.max(this.items.length, this.pageSize), this.longestPage) }),
      (page) => page.items,
    );
    if (this.problem) throw this.problem;
  }

  #load(parameters, merge) {
    const { signal } = this.#underWay;
    this.#loads = this.#loads.then(async () => {
      if (signal.aborted) return;
      this.isLoading = true;
      this.onChange();
      try {
        const page = await this.fetchPage(parameters(), signal);
        if (!signal.aborted) this.#take(merge(page), page.next_cursor);
      } catch (problem) {
        if (!signal.aborted) this.problem = problem;
      }
      this.isLoading = false;
      this.onChange();
    });
    return this.#loads;
  }

  #take(items, cursor) {
    this.items = items;
    this.#cursor = cursor;
    this.#isLoaded = true;
    this.problem = null;
  }
}
