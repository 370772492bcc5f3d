/**
 * Tells announcements of our own writes from those of others. NOLOOP would, too, but with it Redis (since 7.0.5) also keeps
 * silent about keys that it evicts, or stops to remember, while it works on a command of ours (measured): copies would stay.
 */
import type { Runtime } from '../seam.ts'
import type { RedisClientLike } from './redis-driver.ts'

/** Of one connection. */
export interface RedisEchoes {
  /** An announcement has arrived. */
  announced(name: string): void
  /** For a command that is sent now: to be called when its reply has arrived, with the names that it wrote. */
  expect(): ((names: readonly string[]) => void) | undefined
  /** Finds out, once, whether this server echoes a script's write exactly once; until then all counts as foreign. */
  learn(client: RedisClientLike, probe: string): void
  /** Resolves once all that has arrived so far was passed on. */
  passed(): Promise<void>
}

const LEARN_AGAIN_MS = 10_000
const PROBE = "redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], '', 'PX', 1000) return redis.call('EXISTS', KEYS[1])"

/** `changed`: somebody else wrote. */
export function redisEchoes(runtime: Runtime, changed: (name: string) => void): RedisEchoes {
  /** How many echoes of our own writes are still to come, by name. */
  const expected = new Map<string, number>()
  let arrived: string[] = []
  let learning: string | undefined
  let heard = 0
  let state: 'unknown' | 'learning' | 'echoes' | 'silent' = 'unknown'

  /** Not at once: an echo comes right after its reply, which takes a few microtasks to get here. */
  function pass(): void {
    const names = arrived
    arrived = []
    for (const name of names) {
      const count = expected.get(name) ?? 0
      if (count === 0) changed(name)
      else if (count === 1) expected.delete(name)
      else expected.set(name, count - 1)
    }
  }

  function wrote(names: readonly string[]): void {
    for (const name of names) expected.set(name, (expected.get(name) ?? 0) + 1)
  }

  async function probe(client: RedisClientLike, name: string): Promise<void> {
    state = 'learning'
    heard = 0
    // Of its own: other servers learn with the same probe.
    learning = `${name}:${runtime.randomBytes(8).toString('hex')}`
    // Sent together: the echo lies between the two replies.
    await Promise.all([client.sendCommand(['EVAL', PROBE, '1', learning]), client.sendCommand(['PING'])])
    learning = undefined
    state = heard === 1 ? 'echoes' : 'silent'
  }

  return {
    announced(name): void {
      if (name === learning) heard += 1
      arrived.push(name)
      if (arrived.length === 1) runtime.defer(pass)
    },
    expect: () => (state === 'echoes' ? wrote : undefined),
    learn(client, name): void {
      if (state !== 'unknown') return
      probe(client, name).catch(() => {
        learning = undefined
        state = 'silent'
        // It may be out of memory only for now.
        runtime.setTimer(LEARN_AGAIN_MS, () => (state = 'unknown'))
      })
    },
    passed: () => new Promise((done) => runtime.defer(done)),
  }
}
