/** A real transport under test with everything it told, and raw sockets that speak the mesh's wire. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemRuntime } from '../../../src/core/runtime.ts'
import type { Peer, Runtime } from '../../../src/seam.ts'
import { type TcpTransport, type TcpTransportOptions, tcpTransport } from '../../../src/transports/tcp.ts'
import { encodeHello, FRAME_HELLO } from '../../../src/transports/tcp-messages.ts'

export const SECRET = 'the first secret of this test, long enough'
export const OTHER_SECRET = 'the other secret of this test, long enough'

export interface Running {
  readonly self: Peer
  readonly transport: TcpTransport
  readonly port: number
  /** `up b`, `down b`, `frame b text` in order. */
  readonly events: string[]
  readonly warnings: string[]
  sees(node: string): boolean
  send(to: Running, text: string): boolean
}

export interface StartOptions extends Partial<TcpTransportOptions> {
  node?: string
  incarnation?: string
  runtime?: Runtime
  onFrame?: (body: Buffer) => void
}

const running: TcpTransport[] = []

export async function closeAll(): Promise<void> {
  await Promise.all(running.splice(0).map((transport) => transport.close()))
}

export async function startServer(options: StartOptions = {}): Promise<Running> {
  const { node = `n${running.length + 1}`, incarnation = `${node}-${randomBytes(6).toString('hex')}`, runtime, onFrame, ...rest } = options
  const transport = tcpTransport({
    cluster: 'unit',
    host: '127.0.0.1',
    port: 0,
    peers: [],
    ...(rest.plaintext === true || rest.tls !== undefined ? {} : { secrets: SECRET }),
    ...rest,
  })
  running.push(transport)
  const self: Peer = { node, incarnation }
  const events: string[] = []
  const warnings: string[] = []
  const keep = (line: string): void => void warnings.push(line)
  await transport.start({
    self,
    runtime: runtime ?? systemRuntime(),
    logger: { warn: keep, error: keep },
    frame: (peer, body) => {
      events.push(`frame ${peer.node} ${body.length < 100 ? body.toString() : body.length}`)
      onFrame?.(body)
    },
    up: (peer) => void events.push(`up ${peer.node}`),
    down: (peer) => void events.push(`down ${peer.node}`),
  })
  return {
    self,
    transport,
    events,
    warnings,
    port: transport.address()?.port ?? 0,
    sees: (name) => transport.peers().some((peer) => peer.node === name),
    send: (to, text) => transport.send(to.self.incarnation, Buffer.from(text)),
  }
}

export const at = (server: Running): string => `127.0.0.1:${server.port}`

export async function until(what: string, condition: () => boolean, deadlineMs = 15_000): Promise<void> {
  const deadline = performance.now() + deadlineMs
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${deadlineMs} ms`)
    await sleep(5)
  }
}

export async function allLinked(...servers: readonly Running[]): Promise<void> {
  await until('all servers see each other', () => servers.every((a) => servers.every((b) => a === b || a.sees(b.self.node))))
}

export interface Stranger {
  readonly socket: Socket
  readonly received: () => Buffer
  readonly closed: Promise<void>
}

/** A raw connection to a server's mesh port. */
export async function stranger(port: number): Promise<Stranger> {
  const socket = connect(port, '127.0.0.1')
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => void chunks.push(chunk))
  socket.on('error', () => undefined)
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  await Promise.race([once(socket, 'connect'), closed])
  return { socket, received: () => Buffer.concat(chunks), closed }
}

export function frame(type: number, body: Uint8Array, length: number = body.length): Buffer {
  const header = Buffer.alloc(5)
  header.writeUInt32BE(length)
  header[4] = type
  return Buffer.concat([header, body])
}

/** A hello as a member of the plaintext cluster `unit` would send it; greatest incarnation: the other side decides. */
export function helloFrame(node: string, changes: Partial<Parameters<typeof encodeHello>[0]> = {}): Buffer {
  const hello = {
    cluster: 'unit',
    node,
    incarnation: `~${node}-${randomBytes(4).toString('hex')}`,
    nonce: randomBytes(16),
    host: '',
    port: 9,
  }
  return frame(FRAME_HELLO, encodeHello({ ...hello, ...changes }))
}
