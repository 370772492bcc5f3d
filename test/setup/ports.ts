/**
 * Free loopback ports for servers that cannot listen on 0. They lie below the range that the kernel gives to outgoing
 * connections and to port 0, and each test process has a block of its own, held by a listening socket: so nobody takes a
 * port between finding it free and using it.
 */
import { createServer } from 'node:net'
import type { Server } from 'node:net'

const HOST = '127.0.0.1'
const FIRST_BLOCK = 11_000
const BLOCK = 100
const BLOCKS = 200

let block: Promise<number> | undefined
let used = 0

/** A port that nothing listens on, and that this process does not give out again before its block is used up. */
export async function freePort(): Promise<number> {
  block ??= claimBlock()
  const first = await block
  for (let attempt = 1; attempt < BLOCK; attempt++) {
    const port = first + 1 + (used++ % (BLOCK - 1))
    const probe = await listen(port)
    if (probe === undefined) continue
    await new Promise((resolve) => probe.close(resolve))
    return port
  }
  throw new Error(`all ports from ${first} to ${first + BLOCK - 1} are in use`)
}

/** Several different free ports. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) ports.push(await freePort())
  return ports
}

/** The first port of a block marks it as taken for as long as this process lives. */
async function claimBlock(): Promise<number> {
  const start = process.pid % BLOCKS
  for (let attempt = 0; attempt < BLOCKS; attempt++) {
    const first = FIRST_BLOCK + ((start + attempt) % BLOCKS) * BLOCK
    const mark = await listen(first)
    if (mark === undefined) continue
    mark.unref()
    return first
  }
  throw new Error('no block of ports is free: end the test runs that are still going')
}

/** Undefined: somebody has it. */
function listen(port: number): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(undefined)
      else reject(error)
    })
    server.listen({ port, host: HOST, exclusive: true }, () => resolve(server))
  })
}
