const AT_ONCE = 8

/** Failures are the visitors' own: the lab counts them at the gateway. */
export async function inParallel<T>(items: readonly T[], run: (item: T) => Promise<unknown>): Promise<void> {
  const rest = [...items]
  const worker = async (): Promise<void> => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await run(item).catch(() => undefined)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}
