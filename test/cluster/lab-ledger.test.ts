import { describe, expect, test } from 'vitest'
import { createLedger } from '../../src/lab/ledger.ts'
import type { SessionEvent } from '../../src/types.ts'

function event(type: SessionEvent['type'], about: Partial<SessionEvent> = {}): SessionEvent {
  return { type, at: 0, node: 'n1', ...about }
}

describe('the ledger of sessions', () => {
  test('a stranger is a lost session, once', () => {
    const ledger = createLedger()
    ledger.event(event('created', { key: 'a' }))
    ledger.event(event('created', { key: 'b' }))
    ledger.stranger('a')
    ledger.stranger('a')
    expect(ledger.counts()).toEqual({ sessions: 1, lost: 1, lostUpdates: 0 })
  })

  test.each(['destroyed', 'replaced', 'expired', 'revoked'] as const)(
    'a session that was %s is not lost, whichever news comes first',
    (type) => {
      const ledger = createLedger()
      ledger.event(event(type, { key: 'a' }))
      ledger.stranger('a')
      ledger.stranger('b')
      ledger.event(event(type, { key: 'b' }))
      expect(ledger.counts().lost).toBe(0)
    },
  )

  test('ending all sessions of a user ends theirs and no others', () => {
    const ledger = createLedger()
    ledger.event(event('regenerated', { key: 'a', userId: 'ada' }))
    ledger.event(event('regenerated', { key: 'b', userId: 'bob' }))
    ledger.event(event('revoked', { userId: 'ada', detail: '1 sessions of the user' }))
    ledger.stranger('a')
    expect(ledger.counts()).toEqual({ sessions: 1, lost: 0, lostUpdates: 0 })
  })

  test('a lost write ends the session of a user, and costs an anonymous one an update', () => {
    const ledger = createLedger()
    ledger.event(event('regressed', { key: 'a', userId: 'ada' }))
    ledger.event(event('regressed', { key: 'b' }))
    expect(ledger.counts()).toMatchObject({ lost: 1, lostUpdates: 1 })
    ledger.stranger('b')
    expect(ledger.counts()).toMatchObject({ lost: 2, lostUpdates: 0 })
  })

  test('a session that the strategy knows to be ended on purpose is not lost, whichever news comes first', () => {
    const ledger = createLedger()
    ledger.event(event('created', { key: 'a' }))
    ledger.event(event('created', { key: 'b' }))
    ledger.ended('a')
    ledger.stranger('a')
    ledger.stranger('b')
    ledger.ended('b')
    expect(ledger.counts()).toEqual({ sessions: 0, lost: 0, lostUpdates: 0 })
    expect(ledger.fateOf('a').fate).toBe('ended')
    expect(ledger.fateOf('c').fate).toBe('unknown')
  })
})
