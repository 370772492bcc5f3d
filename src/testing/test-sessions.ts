import { systemRuntime } from '../core/runtime.ts'
import type { Runtime } from '../seam.ts'
import { createSessionsWith } from '../sessions.ts'
import { isolated } from '../strategies/isolated.ts'
import type { BaseOptions, PlainOptions, Sessions } from '../types.ts'

const TEST_SECRET = 'holdfast testing: never use this outside of tests'

export type TestSessions<D> = Sessions<D> & {
  /** Moves the clock that lifetimes are measured by; timers do not run early. */
  advance(ms: number): void
}

/** Sessions in memory for an application's own tests: no server, no secret, a clock that can be moved. */
export function testSessions<D extends object = Record<string, unknown>>(options: Partial<PlainOptions<D>> = {}): TestSessions<D> {
  const system = systemRuntime()
  let ahead = 0
  const runtime: Runtime = { ...system, now: () => system.now() + ahead }
  const complete = { secrets: TEST_SECRET, strategy: isolated(), cookie: { secure: false }, ...options } as BaseOptions<D>
  return Object.assign(createSessionsWith<D>(complete, runtime), {
    advance(ms: number): void {
      ahead += ms
    },
  })
}
