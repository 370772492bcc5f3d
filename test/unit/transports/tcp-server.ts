/** A TCP transport under test, and raw sockets that speak the mesh's wire. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type TcpTransport, type TcpTransportOptions, tcpTransport } from '../../../src/transports/tcp.ts'
import { encodeHello, FRAME_HELLO } from '../../../src/transports/tcp-messages.ts'
import { waitFor } from '../../setup/waiting.ts'
import { type MemberOptions, memberOptions, type Recorded, SECRET, startRecorded } from './recorded.ts'

export interface Running extends Recorded {
  readonly transport: TcpTransport
  readonly port: number
  sees(node: string): boolean
}

export async function startServer(options: MemberOptions & Partial<TcpTransportOptions> = {}): Promise<Running> {
  const [member, rest] = memberOptions(options)
  const transport = tcpTransport({
    cluster: 'unit',
    host: '127.0.0.1',
    port: 0,
    peers: [],
    ...(rest.plaintext === true || rest.tls !== undefined ? {} : { secrets: SECRET }),
    ...rest,
  })
  const recorded = await startRecorded(transport, member, false)
  return {
    ...recorded,
    transport,
    port: transport.address()?.port ?? 0,
    sees: (name) => transport.peers().some((peer) => peer.node === name),
  }
}

export const at = (server: Running): string => `127.0.0.1:${server.port}`

export async function until(what: string, condition: () => boolean, deadlineMs = 15_000): Promise<void> {
  await waitFor(condition, deadlineMs, what)
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
