import { expect, test } from 'vitest'
import { eventHub } from '../../src/events.ts'
import type { SessionEvent } from '../../src/types.ts'
import { createVirtualWorld } from '../setup/virtual-runtime.ts'

test('events - what one jar can bring about again and again is told once a minute and session', async () => {
  const world = createVirtualWorld()
  const told: SessionEvent[] = []
  const settings = { node: 'n1', logger: console, onEvent: (event: SessionEvent) => void told.push(event) }
  const { emit } = eventHub(settings as never, world.runtime())
  for (let count = 0; count < 5; count++) {
    emit('regressed', { key: 'a' })
    emit('regressed', { key: 'b' })
    emit('destroyed', { key: 'a' })
    await world.advance(10_000)
  }
  expect(told.map(({ type, key }) => `${type} ${String(key)}`).sort()).toEqual([
    ...Array<string>(5).fill('destroyed a'),
    'regressed a',
    'regressed b',
  ])
  await world.advance(20_000)
  emit('regressed', { key: 'a' })
  expect(told).toHaveLength(8)
})
