/** Runs the work of one key one after the other, different keys at once. `waited`: other work of this key came before. */
export type QueuePerKey = <R>(key: string, work: (waited: boolean) => Promise<R>) => Promise<R>

export function queuePerKey(): QueuePerKey {
  const tails = new Map<string, Promise<unknown>>()
  return <R>(key: string, work: (waited: boolean) => Promise<R>): Promise<R> => {
    const before = tails.get(key)
    const run = (): Promise<R> => work(true)
    const result = before === undefined ? work(false) : before.then(run, run)
    const forget = (): void => {
      if (tails.get(key) === tail) tails.delete(key)
    }
    const tail: Promise<unknown> = result.then(forget, forget)
    tails.set(key, tail)
    return result
  }
}
