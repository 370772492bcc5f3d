/**
 * Waits until the condition returns (or resolves to) something truthy, and returns it. A condition that throws counts as
 * "not yet"; its last error becomes the cause. Throws after `deadlineMs` (default 10 s).
 */
export async function waitFor<T>(condition: () => T | Promise<T>, deadlineMs = 10_000, what = 'the condition'): Promise<NonNullable<T>> {
  const until = performance.now() + deadlineMs
  let cause: unknown
  for (;;) {
    try {
      const result = await within(Promise.resolve(condition()), Math.max(1, until - performance.now()), what)
      if (result) return result
      cause = undefined
    } catch (error) {
      cause = error
    }
    if (performance.now() >= until) throw new Error(`did not happen within ${deadlineMs} ms: ${what}`, { cause })
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** The promise's result, or an error after `deadlineMs`. */
export async function within<T>(promise: Promise<T>, deadlineMs: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`did not end within ${deadlineMs} ms: ${what}`)), deadlineMs)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
