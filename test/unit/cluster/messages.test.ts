import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeFloorNote, encodeFloorNote, joinFloorNotes } from '../../../src/cluster/floor-note.ts'
import { CLAIMS, COMPARE_OUTCOMES, SERVER_STATES, TOMBSTONE_REASONS } from '../../../src/cluster/message-codes.ts'
import { decodeFrame, encodeMessage, type Message, PROTOCOL_VERSION } from '../../../src/cluster/messages.ts'
import { ClusterRecord } from '../../../src/cluster/record.ts'
import { compareDots, type Dot } from '../../../src/core/merge.ts'
import { SessionError } from '../../../src/errors.ts'

const key = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('base64url'))
const dot: fc.Arbitrary<Dot> = fc.record({ origin: fc.stringMatching(/^[\w-]{8}$/), counter: fc.nat() })
const heads = fc.array(dot, { maxLength: 4 }).map((dots) => dots.sort(compareDots))
const number = fc.nat()
const name = fc.string({ maxLength: 20 })
const cells = fc
  .array(fc.tuple(name, fc.record({ stamp: dot, value: fc.option(fc.string(), { nil: undefined }) })), { maxLength: 5 })
  .map((list) => new Map(list))
const coverage = fc.array(fc.tuple(fc.stringMatching(/^[\w-]{8}$/), number), { maxLength: 5 }).map((list) => new Map(list))
const lifetime = fc.record({ idleMs: number, touchEveryMs: number, absoluteAt: number })
const record = fc
  .record({ key, user: fc.option(fc.string(), { nil: undefined }), at: number, cells, heads, coverage, stamp: dot })
  .map((r) => {
    const meta = {
      userId: r.user,
      createdAt: r.at,
      lastActiveAt: r.at,
      idleMs: r.at,
      touchEveryMs: r.at,
      absoluteAt: r.at,
      persistent: r.at % 2 === 0,
    }
    return new ClusterRecord(r.key, meta, r.cells, r.heads, r.coverage, r.stamp, Math.max(0, ...r.coverage.values()))
  })
const set = fc.array(fc.tuple(name, fc.option(fc.string(), { nil: undefined })), { maxLength: 5 }).map((list) => new Map(list))
const add = fc.array(fc.tuple(name, fc.record({ by: fc.integer(), from: fc.integer() })), { maxLength: 5 }).map((list) => new Map(list))
const change = fc.oneof(fc.record({ set, add, touchAt: number }), fc.record({ set, add, touchAt: number, lifetime }))
const delta = fc.oneof(
  fc.record({ key, dot, parents: heads, cells, touchAt: number }),
  fc.record({ key, dot, parents: heads, cells, touchAt: number, lifetime }),
)
const summary = fc.record({
  key,
  userId: fc.option(fc.string(), { nil: undefined }),
  createdAt: number,
  lastActiveAt: number,
  expiresAt: number,
  persistent: fc.boolean(),
})
const kind = <K extends Message['kind']>(value: K) => fc.constant(value)

const messages: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ kind: kind('delta'), sequence: number, claim: fc.constantFrom(...CLAIMS), delta }),
  fc.record({ kind: kind('record'), sequence: number, request: number, claim: fc.constantFrom(...CLAIMS), record }),
  fc.record({ kind: kind('ack'), sequences: fc.array(number) }),
  fc.record({ kind: kind('fetch'), request: number, key }),
  fc.record({ kind: kind('not-held'), request: number }),
  fc.record({
    kind: kind('tombstone'),
    sequence: number,
    request: number,
    key,
    reason: fc.constantFrom(...TOMBSTONE_REASONS),
    ageMs: number,
    until: number,
  }),
  fc.record({ kind: kind('touch'), key, touchAt: number }),
  fc.record({
    kind: kind('state'),
    state: fc.constantFrom(...SERVER_STATES),
    sessions: number,
    lost: fc.array(fc.record({ node: name, ageMs: number }), { maxLength: 3 }),
  }),
  fc.record({ kind: kind('list'), request: number, userId: fc.option(fc.string(), { nil: undefined }) }),
  fc.record({ kind: kind('list-part'), request: number, last: fc.boolean(), summaries: fc.array(summary, { maxLength: 5 }) }),
  fc.record({ kind: kind('snapshot'), request: number, part: number, of: number }),
  fc.record({ kind: kind('snapshot-part'), request: number, last: fc.boolean() }),
  fc.record({ kind: kind('snapshot-next'), request: number }),
  fc.record({ kind: kind('moved'), key, claim: dot, owner: name, coverage }),
  fc.record({ kind: kind('compare'), request: number, key, heads, change }),
  fc.record({ kind: kind('digest'), digests: fc.array(number, { maxLength: 20 }) }),
  fc.record({
    kind: kind('differ'),
    buckets: fc.array(fc.nat({ max: 1023 }), { maxLength: 5 }),
    named: fc.array(fc.record({ key, hash: number }), { maxLength: 5 }),
  }),
  fc.record({ kind: kind('ping'), number }),
  fc.record({ kind: kind('pong'), number, members: number, wall: number, agreed: number, isSettled: fc.boolean() }),
  fc.record({
    kind: kind('relay'),
    sequence: number,
    key,
    reason: fc.constantFrom(...TOMBSTONE_REASONS),
    ageMs: number,
    until: number,
    told: fc.array(name, { maxLength: 5 }),
  }),
  fc.record({ kind: kind('compared'), request: number, outcome: fc.constantFrom(...COMPARE_OUTCOMES) }),
)
const frameOf = (list: readonly Message[]): Buffer => Buffer.concat([Buffer.from([PROTOCOL_VERSION]), ...list.map(encodeMessage)])

describe('messages', () => {
  test('every kind comes back as it was, many in one frame', () => {
    fc.assert(
      fc.property(fc.array(messages, { maxLength: 8 }), (list) => {
        expect(decodeFrame(frameOf(list))).toEqual(list)
      }),
      { numRuns: 500 },
    )
  })

  test('bytes that were cut or changed are PEER_PROTOCOL or other messages, never another error', () => {
    fc.assert(
      fc.property(messages, fc.nat(), fc.nat(255), fc.boolean(), (message, at, value, cut) => {
        const frame = frameOf([message])
        const spot = at % frame.length
        const bytes = cut ? frame.subarray(0, spot) : Buffer.from(frame)
        if (!cut) bytes[spot] = value
        try {
          decodeFrame(bytes)
        } catch (error) {
          expect(SessionError.is(error) && error.code).toBe('PEER_PROTOCOL')
        }
      }),
      { numRuns: 2000 },
    )
  })

  test('a frame of another version is refused by name', () => {
    expect(() => decodeFrame(Buffer.from([PROTOCOL_VERSION + 1]))).toThrow(/protocol 2/)
  })
})

describe('floor notes', () => {
  const tag = Buffer.from([1, 2])
  const note = fc.record({
    floor: heads,
    idleEndAt: fc.nat(4_000_000_000).map((seconds) => seconds * 1000),
    hint: fc.array(fc.stringMatching(/^[0-9a-f]{8}$/), { maxLength: 4 }),
  })

  test('come back as they were, and only under their own tag', () => {
    fc.assert(
      fc.property(note, (content) => {
        const payload = encodeFloorNote(tag, content)
        expect(decodeFloorNote(tag, payload)).toEqual(content)
        expect(decodeFloorNote(Buffer.from([1, 3]), payload)).toBeUndefined()
        expect(decodeFloorNote(tag, payload.subarray(0, -1))).toBeUndefined()
      }),
    )
  })

  test('joined, they ask for all that each asked for', () => {
    fc.assert(
      fc.property(note, note, (a, b) => {
        const { floor } = joinFloorNotes(a, b)
        for (const { counter, origin } of [...a.floor, ...b.floor]) {
          expect(floor.some((one) => one.origin === origin && one.counter >= counter)).toBe(true)
        }
      }),
    )
  })
})
