import { lookup } from 'node:dns/promises'
import { connect, type Socket } from 'node:net'
import { checkFrameSize } from '../core/frames.ts'
import { SessionError } from '../errors.ts'
import type { Runtime, Transport, TransportHandlers } from '../seam.ts'
import { type Attempt, createDialer, type Dialer } from './tcp-dialer.ts'
import { type Listener, listen } from './tcp-listener.ts'
import { createMesh, type Mesh } from './tcp-mesh.ts'
import { checkSelf } from './self.ts'
import { farewellFrame } from './tcp-messages.ts'
import { type Address, checkTcpOptions, formatAddress, type TcpSettings, type TcpTransportOptions } from './tcp-options.ts'
import { createEncryption, type Encryption } from './tcp-security.ts'
import { type Warn, warnings } from './warnings.ts'

export type { TcpTransportOptions } from './tcp-options.ts'

const CONNECT_MS = 5000
const DNS_EVERY_MS = 5000

export interface TcpTransport extends Transport {
  /** Where the server listens, once started. */
  address(): Address | undefined
}

interface Running {
  readonly mesh: Mesh
  readonly dialer: Dialer
  readonly listener: Listener
  readonly dialling: Set<Socket>
}

/**
 * A full mesh of connections between the servers: TLS 1.3 with a key derived from the secrets, or mutual TLS. Throws
 * CONFIG_INVALID with all problems of the options. `start` rejects with PORT_IN_USE when the port is taken. `send` throws
 * PEER_PROTOCOL for a frame above 1 MiB. Members tell each other the addresses of members, so `peers` need not be complete.
 */
export function tcpTransport(options: TcpTransportOptions): TcpTransport {
  const settings = checkTcpOptions(options)
  let assembling: Promise<Running> | undefined
  let closed: Promise<void> | undefined
  let running: Running | undefined

  async function start(handlers: TransportHandlers): Promise<void> {
    if (closed !== undefined) throw new SessionError('SESSIONS_CLOSED', 'This transport is closed: make a new one.')
    if (assembling !== undefined) throw new SessionError('CONFIG_INVALID', 'This transport is started already: each server needs its own.')
    checkSelf(handlers.self)
    assembling = assemble(settings, handlers)
    running = await assembling
    if (closed === undefined) await reachPeers(settings, handlers.runtime, running.dialer, () => closed !== undefined)
  }

  return {
    name: 'tcp',
    cluster: settings.cluster,
    start,
    address: () => running?.listener.address,
    peers: () => running?.mesh.peers() ?? [],
    send(incarnation, frame) {
      checkFrameSize(frame)
      return running?.mesh.send(incarnation, frame) ?? false
    },
    refuse: (incarnation, why) => running?.mesh.refuse(incarnation, why),
    traffic: () => running?.mesh.traffic() ?? { sentBytes: 0, receivedBytes: 0 },
    close() {
      // A start that failed has left nothing to close, and has told its caller.
      closed ??= assembling === undefined ? Promise.resolve() : assembling.then(shut, () => undefined)
      return closed
    },
  }
}

async function assemble(settings: TcpSettings, handlers: TransportHandlers): Promise<Running> {
  const { runtime } = handlers
  const warn = warnings(runtime, handlers.logger)
  const encryption = await createEncryption(settings.security, settings.cluster, (advice) => farewellFrame('certificate', advice))
  const dialling = new Set<Socket>()
  const mesh: Mesh = createMesh({
    cluster: settings.cluster,
    handlers,
    warn,
    advice: encryption.advice,
    advertised: () => advertised(settings, listener.address),
    learn: (address, incarnation) => dialer.learn(address, incarnation),
    peerDown: (incarnation, retry) => dialer.peerDown(incarnation, retry),
  })
  const dialer: Dialer = createDialer({
    runtime,
    isUp: (incarnation) => mesh.isUp(incarnation),
    dial: (attempt) => void dial(attempt, { encryption, runtime, warn, mesh, dialling }),
  })
  let listener: Listener
  try {
    listener = await listen({
      host: settings.host,
      port: settings.port,
      encryption,
      runtime,
      warn,
      adopt: (connection, greeted) => mesh.adopt(connection, undefined, greeted),
    })
  } catch (error) {
    await mesh.close()
    throw error
  }
  return { mesh, dialer, listener, dialling }
}

async function shut({ mesh, dialer, listener, dialling }: Running): Promise<void> {
  dialer.close()
  const stopped = listener.close()
  for (const raw of dialling) raw.destroy()
  await mesh.close()
  await stopped
}

/** An address that means "all" is none that others could dial: they use the one they see. */
function advertised(settings: TcpSettings, bound: Address): Address {
  if (settings.advertise !== undefined) return settings.advertise
  const host = settings.host ?? ''
  return { host: host === '0.0.0.0' || host === '::' ? '' : host, port: bound.port }
}

// ---------------------------------------------------------------- dialling

interface DialContext {
  readonly encryption: Encryption
  readonly runtime: Runtime
  readonly warn: Warn
  readonly mesh: Mesh
  readonly dialling: Set<Socket>
}

/** Tries each key, newest first; any outcome ends in the attempt. */
async function dial(attempt: Attempt, context: DialContext): Promise<void> {
  const remote = formatAddress(attempt.address)
  for (let keyIndex = 0; ; keyIndex++) {
    const raw = connect({ host: attempt.address.host, port: attempt.address.port })
    try {
      const socket = await handshake(raw, keyIndex, context)
      context.mesh.adopt({ socket, raw, remote, remoteHost: attempt.address.host }, attempt, () => undefined)
      return
    } catch (error) {
      raw.destroy()
      const refused = SessionError.is(error) && error.code === 'PEER_REFUSED'
      if (refused && keyIndex + 1 < context.encryption.keyCount) continue
      if (refused) context.warn('PEER_REFUSED', remote, error.message)
      attempt.ended('soon')
      return
    }
  }
}

async function handshake(raw: Socket, keyIndex: number, { encryption, runtime, dialling }: DialContext): Promise<Socket> {
  dialling.add(raw)
  const deadline = runtime.setTimer(CONNECT_MS, () => raw.destroy())
  try {
    await connected(raw)
    raw.setNoDelay(true)
    return await encryption.dial(raw, keyIndex)
  } finally {
    deadline.cancel()
    dialling.delete(raw)
  }
}

function connected(raw: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    raw.on('error', reject)
    raw.once('connect', resolve)
    raw.once('close', () => reject(new Error('connection closed')))
  })
}

// ---------------------------------------------------------------- whom to dial

async function reachPeers(settings: TcpSettings, runtime: Runtime, dialer: Dialer, isClosed: () => boolean): Promise<void> {
  const { peers } = settings
  if ('addresses' in peers) {
    await Promise.all(peers.addresses.map((address) => dialer.add(address, 'configured')))
    return
  }
  const poll = async (): Promise<void> => {
    if (isClosed()) return
    const addresses = await resolveName(peers.dns, peers.port)
    if (isClosed()) return
    runtime.setTimer(DNS_EVERY_MS, () => void poll())
    if (addresses === undefined) return
    dialer.keepOnly(addresses)
    await Promise.all(addresses.map((address) => dialer.add(address, 'dns')))
  }
  // A resolver that hangs must not hold up the start.
  await Promise.race([poll(), new Promise<void>((done) => void runtime.setTimer(DNS_EVERY_MS, done))])
}

/** Undefined when the name does not resolve now: the servers known so far stay. */
async function resolveName(name: string, port: number): Promise<Address[] | undefined> {
  try {
    const found = await lookup(name, { all: true })
    return found.map(({ address }) => ({ host: address, port }))
  } catch {
    return undefined
  }
}
