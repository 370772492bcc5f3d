import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'
import { SessionError } from '../errors.ts'

const HOST = '127.0.0.1'

function tryListen(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen({ port, host: HOST, exclusive: true }, () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : port))
    })
  })
}

/** Below the range that the kernel gives to outgoing connections: nobody takes such a port by chance before it is used. */
const FIRST_PORT = 31_000
const LAST_PORT = 32_700
const ATTEMPTS = 100

/** A loopback port that was free a moment ago. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const port = randomInt(FIRST_PORT, LAST_PORT)
    if (await isFree(port)) return port
  }
  return tryListen(0)
}

/** Several, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < count) ports.add(await freePort())
  return [...ports]
}

export async function isFree(port: number): Promise<boolean> {
  return tryListen(port).then(
    () => true,
    () => false,
  )
}

/** The port itself, or a free one for 0. PORT_IN_USE names the flag that helps. */
export async function claimPort(port: number, flag: string): Promise<number> {
  try {
    return await tryListen(port)
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code === 'EACCES' ? 'may not be opened by this user' : 'is in use by another program'
    throw new SessionError('PORT_IN_USE', `Port ${port} ${why}: choose another one with ${flag}.`, { cause })
  }
}
