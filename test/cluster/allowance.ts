import { availableParallelism, loadavg } from 'node:os'

/**
 * By how much a bound on time may be missed, because other processes want the processors too: 1 on a machine that has nothing
 * else to do. What is bounded is the code, not the machine.
 */
export function allowance(): number {
  return Math.max(1, (loadavg()[0] as number) / availableParallelism())
}
