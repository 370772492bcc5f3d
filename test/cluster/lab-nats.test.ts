import { afterEach, expect, test } from 'vitest'
import { startNats } from '../setup/nats.ts'
import { type RunningLab, runCli, ShopVisitor, startLab } from './lab-process.ts'

let lab: RunningLab | undefined
afterEach(() => lab?.stop())

test.each(['replication', 'affinity'])('the lab runs %s over NATS, and a kill loses nobody', async (strategy) => {
  const nats = await startNats()
  try {
    lab = await startLab('--strategy', strategy, '--nodes', '3', '--transport', nats.url)
    const visitor = new ShopVisitor(lab.shop)
    const { node } = await visitor.ask('PATCH', '/session', { colour: 'red' })
    await lab.api('POST', `/api/nodes/${node}/kill`)
    const after = await visitor.ask('GET', '/session')
    expect(after).toMatchObject({ isNew: false, data: { colour: 'red' } })
    expect(after.node).not.toBe(node)
  } finally {
    await lab?.stop()
    await nats.stop()
  }
})

test('a transport that is none is refused in one line', async () => {
  const { code, output } = await runCli('lab', '--transport', 'nats://ada:secret@127.0.0.1')
  expect(code).toBe(2)
  expect(output).toMatch(/transport must be tcp or nats:/)
  expect(output).not.toContain('secret')
})
