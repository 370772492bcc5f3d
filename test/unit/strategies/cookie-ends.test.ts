import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { type Epoch, epochOf, eventId, hasSeen } from '../../../src/core/epoch.ts'
import {
  eventKey,
  guardKey,
  guardedSession,
  kindOf,
  ownedKey,
  readEventKey,
  readGuardKey,
  sparedKey,
  userHash,
} from '../../../src/strategies/cookie-end-keys.ts'
import { RememberedEnds } from '../../../src/strategies/cookie-ends.ts'
import { endOfSession } from '../../../src/strategies/cookie-revocations.ts'

const HOUR = 3_600_000
const NOW = 1_767_225_600_000
const keyOf = (text: string): string => createHash('sha256').update(text).digest('base64url')
const tombstone = { reason: 'destroyed', endedAt: NOW, until: NOW + HOUR } as const

function isEnded(ends: RememberedEnds, key: string, userId?: string, epoch?: Epoch): boolean {
  return endOfSession(ends.standing({ key, absoluteAt: NOW + HOUR / 2, userId }), epoch) !== undefined
}

describe('what a server remembers of ended sessions', () => {
  test('keys of the table are 32 bytes, tell what they are, and are read back', () => {
    const session = keyOf('a')
    const event = eventId(7, Buffer.from([1, 2, 3, 4]))
    const keys = [
      eventKey(userHash('ada'), event),
      guardKey(session, 'AbCdEf-_', 2 ** 33 + 5),
      ownedKey(session, 'ada'),
      sparedKey(session, event),
    ]
    for (const key of keys) {
      expect(Buffer.from(key, 'base64url').toString('base64url')).toBe(key)
      expect(Buffer.from(key, 'base64url')).toHaveLength(32)
      expect(kindOf(key)).toBe(key.slice(0, 8))
    }
    expect(kindOf(session)).toBeUndefined()
    expect(readEventKey(keys[0] as string)).toEqual({ user: userHash('ada'), event })
    expect(readGuardKey(keys[1] as string)).toEqual({ session: guardedSession(session), name: 'AbCdEf-_', counter: 2 ** 33 + 5 })
  })

  test('a full table forgets nobody, and ends few others', () => {
    const ends = new RememberedEnds({ sessions: 1_000, events: 10 })
    for (let n = 0; n < 20_000; n++) ends.set(keyOf(`ended ${n}`), tombstone)
    for (let n = 0; n < 20_000; n++) expect(isEnded(ends, keyOf(`ended ${n}`))).toBe(true)
    let innocent = 0
    for (let n = 0; n < 20_000; n++) if (isEnded(ends, keyOf(`alive ${n}`))) innocent++
    expect(innocent).toBeLessThan(20)
    expect(ends.coarseSessions).toBeGreaterThan(18_000)
  })

  test('what was coarsened goes to others in as many messages, and to nothing once its time has passed', () => {
    const ends = new RememberedEnds({ sessions: 10, events: 2 })
    for (let n = 0; n < 50; n++) ends.set(keyOf(`ended ${n}`), tombstone)
    for (let n = 1; n < 9; n++) ends.set(eventKey(userHash(`user ${n}`), eventId(n, Buffer.alloc(4))), tombstone)
    const other = new RememberedEnds()
    for (const [key, one] of ends.entries()) other.set(key, one)
    for (let n = 0; n < 50; n++) expect(isEnded(other, keyOf(`ended ${n}`))).toBe(true)
    for (let n = 1; n < 9; n++) expect(isEnded(other, keyOf('any'), `user ${n}`)).toBe(true)
    for (const key of [...other.entries()].map(([name]) => name)) other.delete(key)
    expect([other.size, other.coarseSessions]).toEqual([0, 0])
    expect(isEnded(other, keyOf('ended 1'))).toBe(false)
  })

  test('a session that ends later than those in its bucket is none of them', () => {
    const ends = new RememberedEnds({ sessions: 0, events: 0 })
    ends.set(keyOf('a'), tombstone)
    expect(ends.standing({ key: keyOf('a'), absoluteAt: NOW + HOUR, userId: undefined }).ended).toBeDefined()
    expect(ends.standing({ key: keyOf('a'), absoluteAt: NOW + 2 * HOUR, userId: undefined }).ended).toBeUndefined()
  })

  test('log-outs everywhere that were coarsened still end what came before, and not what came after', () => {
    const ends = new RememberedEnds({ sessions: 10, events: 2 })
    const before: Epoch | undefined = undefined
    for (let n = 1; n <= 5; n++) ends.set(eventKey(userHash(`user ${n}`), eventId(n, Buffer.alloc(4))), tombstone)
    const after = epochOf(ends.counter, [])
    expect(isEnded(ends, keyOf('a'), 'user 1', before)).toBe(true)
    expect(isEnded(ends, keyOf('a'), 'user 1', after)).toBe(false)
    expect(isEnded(ends, keyOf('a'), 'user 5', after)).toBe(true)
    expect(isEnded(ends, keyOf('a'), 'somebody else', before)).toBe(false)
  })

  test('a session whose guarded notes do not fit any more has to end', () => {
    const ends = new RememberedEnds({ sessions: 1, events: 1 })
    ends.set(guardKey(keyOf('a'), 'AAAAAAAA', 3), tombstone)
    expect(ends.standing({ key: keyOf('a'), absoluteAt: NOW, userId: undefined })).toMatchObject({
      ended: undefined,
      required: [{ counter: 3 }],
    })
    ends.set(guardKey(keyOf('b'), 'AAAAAAAA', 3), tombstone)
    expect(isEnded(ends, keyOf('a'))).toBe(true)
    expect(isEnded(ends, keyOf('b'))).toBe(false)
  })

  test('an epoch names 16 events at most; older ones are known by their counters', () => {
    const events = Array.from({ length: 40 }, (_, n) => eventId(n + 1, Buffer.from([n, n, n, n])))
    const epoch = epochOf(40, events)
    expect(epoch?.seen).toHaveLength(16)
    for (const event of events) expect(hasSeen(epoch, event)).toBe(true)
    expect(hasSeen(epoch, eventId(41, Buffer.alloc(4)))).toBe(false)
    expect(hasSeen(epoch, eventId(30, Buffer.alloc(4)))).toBe(false)
    expect(hasSeen(undefined, eventId(1, Buffer.alloc(4)))).toBe(false)
  })
})
