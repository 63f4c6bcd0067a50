// A paginated list that grows page by page, by the cursor of the last page.

// The largest `limit` that the API accepts.
const LONGEST_PAGE = 1_000;

/** Collects the items of `fetchPage({ limit, cursor }, signal)`, which resolves to `{ items, next_cursor }`. Loads run
 * one after another, so that a page is always appended to the list that its cursor belongs to. */
export class Listing {
  items = [];
  isLoading = false;
  /** The Problem of the last load, or null if it succeeded. */
  problem = null;
  #cursor = null;
  #isLoaded = false;
  #isMoreRequested = false;
  #abort = new AbortController();
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

  /** Starts over with the first page, after the query has changed. The old items stay until the new ones arrive. */
  restart() {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#isLoaded = false;
    return this.#load(() => ({ limit: this.pageSize }), (page) => page.items);
  }

  /** Loads the next page, if there is one and it is not requested already. */
  async more() {
    if (this.#isMoreRequested || !this.hasMore) return;
    this.#isMoreRequested = true;
    await this.#load(
      () => ({ limit: this.pageSize, cursor: this.#cursor }),
      (page) => {
        const known = new Set(this.items);
        return [...this.items, ...page.items.filter((item) => !known.has(item))];
      },
    );
    this.#isMoreRequested = false;
  }

  /** Reloads all items that are shown. Throws a Problem. */
  async refresh() {
    await this.#load(
      () => ({ limit: Math.min(Math.max(this.items.length, this.pageSize), this.longestPage) }),
      (page) => page.items,
    );
    if (this.problem) throw this.problem;
  }

  #load(parameters, merge) {
    const { signal } = this.#abort;
    this.#loads = this.#loads.then(async () => {
      if (signal.aborted) return;
      this.isLoading = true;
      this.onChange();
      try {
        const page = await this.fetchPage(parameters(), signal);
        if (!signal.aborted) this.#replace(merge(page), page.next_cursor);
      } catch (problem) {
        if (!signal.aborted) this.problem = problem;
      }
      this.isLoading = false;
      this.onChange();
    });
    return this.#loads;
  }

  #replace(items, cursor) {
    this.items = items;
    this.#cursor = cursor;
    this.#isLoaded = true;
    this.problem = null;
  }
}
