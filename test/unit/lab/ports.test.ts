import { createServer, type Server } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { claimPort, freePort, freePorts, isFree } from '../../../src/lab/ports.ts'

const blockers: Server[] = []
afterEach(async () => {
  await Promise.all(blockers.splice(0).map((one) => new Promise((resolve) => one.close(resolve))))
})

/** Resolves when another program, as it were, listens there. */
async function block(port: number): Promise<number> {
  const server = createServer()
  blockers.push(server)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  return port
}

test('ports - one in use is never given to a server or gateway of compare', async () => {
  const taken: number[] = []
  for (let count = 0; count < 400; count++) taken.push(await block(await freePort()))
  const given = await freePorts(100)
  expect(new Set(given).size).toBe(100)
  expect(given.filter((port) => taken.includes(port))).toEqual([])
  expect(await isFree(taken[0] ?? 0)).toBe(false)
})

test('ports - one in use that was asked for is refused in one line that names the flag', async () => {
  const port = await block(await freePort())
  const told = `Port ${port} is in use by another program: choose another one with --port.`
  await expect(claimPort(port, '--port')).rejects.toMatchObject({ code: 'PORT_IN_USE', message: told })
  expect(await claimPort(0, '--port')).toBeGreaterThan(0)
})
