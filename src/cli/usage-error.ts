/** Wrong usage ends with exit code 2, everything else that fails with 1. */
const marked = new WeakSet<object>()

/** Whatever `check` throws is the caller's mistake. */
export function usageError<T>(check: () => T): T {
  try {
    return check()
  } catch (error) {
    if (typeof error === 'object' && error !== null) marked.add(error)
    throw error
  }
}

/** As `usageError`, for what takes time to check. */
export async function usageErrors<T>(check: () => Promise<T>): Promise<T> {
  return check().catch((error: unknown) =>
    usageError(() => {
      throw error
    }),
  )
}

export function exitCodeOf(error: unknown): 1 | 2 {
  return typeof error === 'object' && error !== null && marked.has(error) ? 2 : 1
}
