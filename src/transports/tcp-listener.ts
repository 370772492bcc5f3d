import { createServer, type Server, type Socket } from 'node:net'
import { SessionError } from '../errors.ts'
import type { Runtime } from '../seam.ts'
import type { Connection } from './tcp-link.ts'
import { type Address, formatAddress } from './tcp-options.ts'
import type { Encryption } from './tcp-security.ts'
import type { Warn } from './warnings.ts'

/** Connections that have not yet said who they are. */
const MAX_STRANGERS = 64
const STRANGER_MS = 5000

export interface ListenerOptions {
  readonly host: string | undefined
  readonly port: number
  readonly encryption: Encryption
  readonly runtime: Runtime
  readonly warn: Warn
  /** Calls back once the connection is a member's link or has ended. */
  adopt(connection: Connection, greeted: () => void): void
}

export interface Listener {
  readonly address: Address
  /** Stops accepting and closes connections that are not links yet. */
  close(): Promise<void>
}

/** Listens for servers that dial; strangers are few, short-lived and heard only after the handshake. */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const { runtime, encryption } = options
  const strangers = new Set<Socket>()
  const refusals = new Map<string, number>()

  function failed(host: string, error: unknown): void {
    if (!SessionError.is(error)) return
    const count = (refusals.get(host) ?? 0) + 1
    if (refusals.size > 1000) refusals.clear()
    refusals.set(host, count)
    if (error.code === 'PEER_REFUSED' && count <= encryption.toleratedRefusals) return
    options.warn(error.code, host, error.message)
  }

  async function accept(raw: Socket): Promise<void> {
    const host = plainHost(raw.remoteAddress ?? 'unknown')
    raw.on('error', () => undefined)
    if (strangers.size >= MAX_STRANGERS) {
      options.warn(
        'PEER_REFUSED',
        host,
        `closed: ${MAX_STRANGERS} connections have not said yet who they are; is something else dialling this port?`,
      )
      return void raw.destroy()
    }
    strangers.add(raw)
    const deadline = runtime.setTimer(STRANGER_MS, () => raw.destroy())
    const known = (): void => {
      deadline.cancel()
      strangers.delete(raw)
    }
    raw.once('close', known)
    raw.setNoDelay(true)
    try {
      const socket = await encryption.accept(raw)
      refusals.delete(host)
      options.adopt({ socket, raw, remote: host, remoteHost: host }, known)
    } catch (error) {
      failed(host, error)
      // A farewell may still be on its way; the deadline ends what the other side does not.
      if (!SessionError.is(error)) raw.destroy()
    }
  }

  const server = createServer((raw) => void accept(raw))
  await bind(server, options)
  server.on('error', (error: NodeJS.ErrnoException) =>
    options.warn('PEER_REFUSED', 'this host', `a connection could not be accepted (${error.code ?? 'unknown'})`),
  )
  const bound = server.address()
  if (bound === null || typeof bound === 'string') throw new SessionError('CONFIG_INVALID', 'The mesh must listen on a port.')
  return {
    address: { host: bound.address, port: bound.port },
    close() {
      const done = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const raw of strangers) raw.destroy()
      return done
    },
  }
}

function bind(server: Server, { host, port }: ListenerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException): void => reject(bindError(error, host ?? '*', port))
    server.once('error', fail)
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
      server.off('error', fail)
      resolve()
    })
  })
}

function bindError(error: NodeJS.ErrnoException, host: string, port: number): SessionError {
  const address = formatAddress({ host, port })
  if (error.code === 'EADDRINUSE') {
    const advice = 'End the other process, or give this server another port (tcpTransport port, and the peers of the others).'
    return new SessionError('PORT_IN_USE', `The mesh cannot listen on ${address}: the port is in use. ${advice}`, { cause: error })
  }
  const advice = 'Choose a host of this machine and a port this user may open.'
  return new SessionError('CONFIG_INVALID', `The mesh cannot listen on ${address} (${error.code ?? 'unknown'}). ${advice}`, {
    cause: error,
  })
}

/** IPv4 addresses as IPv4, however the socket was opened. */
export function plainHost(host: string): string {
  return host.startsWith('::ffff:') && host.includes('.') ? host.slice('::ffff:'.length) : host
}
