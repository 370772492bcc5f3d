import { expect, test } from 'vitest'
import { createDialer } from '../../../src/transports/tcp-dialer.ts'
import { createVirtualRuntime } from '../../setup/virtual-runtime.ts'

const MINUTE_MS = 60_000

test('a server that cannot be reached for minutes is dialled every second, not in step with others, so that a heal is found soon', async () => {
  const runtime = createVirtualRuntime({ seed: 1 })
  const attempts: number[] = []
  const dialer = createDialer({
    runtime,
    isUp: () => false,
    dial(attempt) {
      attempts.push(runtime.monotonic())
      attempt.ended('soon')
    },
  })
  await dialer.add({ host: '127.0.0.1', port: 1 }, 'configured')
  await runtime.advance(5 * MINUTE_MS)
  const waits = attempts.slice(1).map((at, index) => at - (attempts[index] as number))
  expect(Math.max(...waits)).toBeLessThanOrEqual(1_000)
  expect(Math.min(...waits.slice(-20))).toBeGreaterThanOrEqual(500)
  expect(new Set(waits.slice(-20)).size).toBeGreaterThan(10)
  dialer.close()
})

test('a learned address that never answers is forgotten after some minutes, a configured one is not', async () => {
  const runtime = createVirtualRuntime({ seed: 1 })
  const last = new Map<number, number>()
  const dialer = createDialer({
    runtime,
    isUp: () => false,
    dial(attempt) {
      last.set(attempt.address.port, runtime.monotonic())
      attempt.ended('soon')
    },
  })
  await dialer.add({ host: '127.0.0.1', port: 1 }, 'configured')
  dialer.learn({ host: '127.0.0.1', port: 2 }, 'abcdefgh')
  await runtime.advance(MINUTE_MS)
  const isTried = (port: number): boolean => runtime.monotonic() - (last.get(port) ?? 0) <= 1_000
  expect([isTried(1), isTried(2)]).toEqual([true, true])
  await runtime.advance(4 * MINUTE_MS)
  expect([isTried(1), isTried(2)]).toEqual([true, false])
  dialer.close()
})
