const AT_ONCE = 8

/** A few at a time. Rejects with the first failure; `unlessFailed` is for those whose failures are nobody's concern here. */
export async function inParallel<T>(items: readonly T[], run: (item: T) => Promise<unknown>, atOnce: number = AT_ONCE): Promise<void> {
  const rest = [...items]
  const worker = async (): Promise<void> => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await run(item)
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

/** Failures are the visitors' own: the lab counts them at the gateway. */
export function unlessFailed<T>(run: (item: T) => Promise<unknown>): (item: T) => Promise<unknown> {
  return (item) => run(item).catch(() => undefined)
}
