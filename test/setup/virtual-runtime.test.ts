import { describe, expect, test } from 'vitest'
import { createVirtualRuntime, createVirtualWorld, seededRandom } from './virtual-runtime.ts'

describe('virtual runtime', () => {
  test('runs timers in the order they are due, ties in the order they were set, at their time', async () => {
    const runtime = createVirtualRuntime()
    const seen: string[] = []
    const note = (name: string) => () => void seen.push(`${name}@${runtime.monotonic()}`)
    runtime.setTimer(20, note('late'))
    runtime.setTimer(10, note('first'))
    runtime.setTimer(10, note('second'))
    runtime.setTimer(30, note('never')).cancel()
    await runtime.advance(9)
    expect(seen).toEqual([])
    await runtime.advance(100)
    expect(seen).toEqual(['first@10', 'second@10', 'late@20'])
    expect(runtime.monotonic()).toBe(109)
    expect(runtime.pending()).toBe(0)
  })

  test('runs deferred calls and promises before the next timer, and timers that timers set', async () => {
    const runtime = createVirtualRuntime()
    const seen: string[] = []
    runtime.setTimer(1, () => {
      runtime.defer(() => seen.push('deferred'))
      void Promise.resolve().then(() => seen.push('promise'))
      runtime.setTimer(1, () => seen.push('timer'))
    })
    await runtime.advance(2)
    expect(seen).toEqual(['promise', 'deferred', 'timer'])
  })

  test('the wall clock may be wrong while the monotonic one is not', async () => {
    const world = createVirtualWorld({ startAt: 1_000 })
    const right = world.runtime()
    const ahead = world.runtime({ skewMs: 500 })
    await world.advance(10)
    expect([right.now(), ahead.now(), ahead.monotonic()]).toEqual([1_010, 1_510, 10])
    ahead.setSkew(-10)
    expect(ahead.now()).toBe(1_000)
  })

  test('a crashed server runs nothing any more; a paused one runs what came due when it resumes', async () => {
    const world = createVirtualWorld()
    const crashed = world.runtime()
    const paused = world.runtime()
    const seen: string[] = []
    crashed.setTimer(5, () => seen.push('crashed'))
    paused.setTimer(5, () => seen.push('paused'))
    crashed.crash()
    paused.pause()
    await world.advance(10)
    expect(seen).toEqual([])
    paused.resume()
    await world.settle()
    expect(seen).toEqual(['paused'])
  })

  test('one seed gives one sequence, another seed another', () => {
    const draw = (seed: number): number[] => Array.from({ length: 5 }, seededRandom(seed).uint32)
    expect(draw(3)).toEqual(draw(3))
    expect(draw(3)).not.toEqual(draw(4))
    const a = createVirtualRuntime({ seed: 9 }).randomBytes(16)
    expect(a.equals(createVirtualRuntime({ seed: 9 }).randomBytes(16))).toBe(true)
    const world = createVirtualWorld({ seed: 9 })
    expect(world.runtime().randomBytes(16).equals(world.runtime().randomBytes(16))).toBe(false)
  })

  test('advanceUntil stops at the condition and fails with what did not happen', async () => {
    const runtime = createVirtualRuntime()
    let done = false
    runtime.setTimer(50, () => (done = true))
    await runtime.advanceUntil(() => done, 1_000, 'the timer')
    expect(runtime.monotonic()).toBe(50)
    await expect(runtime.advanceUntil(() => false, 10, 'nothing')).rejects.toThrow('within 10 virtual ms: nothing')
  })

  test('something that defers itself for ever is an error, not a hang', async () => {
    const runtime = createVirtualRuntime()
    const again = (): void => runtime.defer(again)
    again()
    await expect(runtime.settle()).rejects.toThrow('does not come to rest')
  }, 30_000)
})
