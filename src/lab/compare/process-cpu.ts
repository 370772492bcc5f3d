import { readdirSync, readFileSync } from 'node:fs'

/** Microseconds that the threads of these processes have run so far. Undefined where the kernel does not tell (other than Linux). */
export function cpuMicros(pids: readonly number[]): number | undefined {
  try {
    let nanoseconds = 0
    for (const pid of pids) {
      for (const thread of readdirSync(`/proc/${pid}/task`)) {
        nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0])
      }
    }
    return nanoseconds / 1_000
  } catch {
    return undefined
  }
}
