import { hkdfSync } from 'node:crypto'
import type { Socket } from 'node:net'
import type { TlsOptions } from 'node:tls'
import { SessionError } from '../errors.ts'
import type { Security } from './tcp-options.ts'

// The SHA-384 suite does not work with pre-shared keys in Node; TLS 1.2 suites with them have no forward secrecy.
const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256'
const HANDSHAKE_MS = 5000

const CHECK_SECRETS =
  'check that both servers have the same cluster name and at least one secret in common, and that both or neither use tls or plaintext'
const CHECK_CERTIFICATES = 'check that both servers have certificates signed by the same cluster authority (tls.ca), and that both use tls'

/** Turns raw sockets into authenticated ones. Rejections are PEER_REFUSED, PEER_PROTOCOL, or plain errors of a connection that broke. */
export interface Encryption {
  /** Keys a dialler can try, newest first. */
  readonly keyCount: number
  /** What to check when a peer does not authenticate. */
  readonly advice: string
  /** Refusals of one host before they are worth a warning: a dialler with several secrets may fail with the first ones. */
  readonly toleratedRefusals: number
  accept(raw: Socket): Promise<Socket>
  dial(raw: Socket, keyIndex: number): Promise<Socket>
}

interface MeshKey {
  readonly identity: string
  readonly psk: Buffer
}

/** PSK = HKDF-SHA-256(secret, salt = cluster name, info 'holdfast mesh v1'); its name is derived the same way and reveals nothing. */
export function meshKey(secret: string, cluster: string): MeshKey {
  const psk = Buffer.from(hkdfSync('sha256', secret, cluster, 'holdfast mesh v1', 32))
  const id = Buffer.from(hkdfSync('sha256', secret, cluster, 'holdfast mesh v1 key id', 8))
  return { identity: `holdfast-1-${id.toString('hex')}`, psk }
}

const PLAINTEXT: Encryption = {
  keyCount: 1,
  advice: CHECK_SECRETS,
  toleratedRefusals: 0,
  accept: async (raw) => raw,
  dial: async (raw) => raw,
}

/** `node:tls` is loaded here and only when needed. `farewell`: the last bytes for one whose certificate is not accepted. */
export async function createEncryption(security: Security, cluster: string, farewell: (advice: string) => Buffer): Promise<Encryption> {
  if (security.mode === 'plaintext') return PLAINTEXT
  const tls = await import('node:tls')
  const common: TlsOptions = { ciphers: CIPHERS, minVersion: 'TLSv1.3', handshakeTimeout: HANDSHAKE_MS }
  const keys = security.mode === 'psk' ? security.secrets.map((secret) => meshKey(secret, cluster)) : []
  const certificates = security.mode === 'mtls' ? { cert: security.cert, key: security.key, ca: security.ca } : {}
  const advice = security.mode === 'psk' ? CHECK_SECRETS : CHECK_CERTIFICATES
  const waiting = new Map<string, { resolve(socket: Socket): void; reject(error: Error): void; unknownKey: boolean }>()
  const nameOf = (socket: Socket): string => `${socket.remoteAddress}|${socket.remotePort}`

  const server = tls.createServer(
    security.mode === 'psk'
      ? {
          ...common,
          pskCallback(socket, identity) {
            const key = keys.find((candidate) => candidate.identity === identity)
            const entry = waiting.get(nameOf(socket))
            if (key === undefined && entry !== undefined) entry.unknownKey = true
            return key?.psk ?? null
          },
        }
      : { ...common, ...certificates, requestCert: true, rejectUnauthorized: false },
  )
  server.on('secureConnection', (socket) => {
    socket.on('error', () => undefined)
    const entry = waiting.get(nameOf(socket))
    if (entry === undefined) return void socket.destroy()
    // Checked here and not by `rejectUnauthorized`, which would hang up without a word to either side.
    if (security.mode !== 'mtls' || socket.authorized) return entry.resolve(socket)
    entry.reject(new SessionError('PEER_REFUSED', `refused: ${advice}`, { cause: socket.authorizationError }))
    socket.end(farewell(advice))
  })
  server.on('tlsClientError', (error, socket) => {
    const entry = waiting.get(nameOf(socket))
    entry?.reject(acceptError(error, security.mode === 'mtls' || entry.unknownKey, advice))
  })

  function accept(raw: Socket): Promise<Socket> {
    const name = nameOf(raw)
    const result = new Promise<Socket>((resolve, reject) => {
      waiting.set(name, { resolve, reject, unknownKey: false })
      raw.once('close', () => reject(new Error('connection closed')))
      server.emit('connection', raw)
    })
    return result.finally(() => waiting.delete(name))
  }

  function dial(raw: Socket, keyIndex: number): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const key = keys[keyIndex]
      const socket = tls.connect({
        ...certificates,
        socket: raw,
        ciphers: CIPHERS,
        minVersion: 'TLSv1.3',
        // The cluster's own authority or the key says who is a member; host names of members are not in certificates.
        checkServerIdentity: () => undefined,
        ...(key === undefined ? {} : { pskCallback: () => key }),
      })
      socket.on('error', (error: NodeJS.ErrnoException) => reject(dialError(error, advice)))
      socket.once('close', () => reject(new Error('connection closed')))
      socket.once('secureConnect', () => resolve(socket))
    })
  }

  return { keyCount: Math.max(1, keys.length), advice, toleratedRefusals: keys.length > 0 ? 2 : 0, accept, dial }
}

function acceptError(error: NodeJS.ErrnoException, refusable: boolean, advice: string): Error {
  if (!isTlsError(error) || error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT') return error
  const foreign = error.code === 'ERR_SSL_HTTP_REQUEST' || error.code === 'ERR_SSL_WRONG_VERSION_NUMBER'
  if (refusable && !foreign) return new SessionError('PEER_REFUSED', `refused: ${advice}`, { cause: error })
  return new SessionError('PEER_PROTOCOL', `does not speak TLS as this cluster does (${error.code}): ${advice}`, { cause: error })
}

/** What a failed handshake means to the side that dialled. */
export function dialError(error: NodeJS.ErrnoException, advice: string = CHECK_SECRETS): Error {
  return isTlsError(error) ? new SessionError('PEER_REFUSED', `the handshake failed (${error.code}): ${advice}`, { cause: error }) : error
}

function isTlsError(error: NodeJS.ErrnoException): boolean {
  const code = error.code ?? ''
  return code.startsWith('ERR_SSL') || code.startsWith('ERR_TLS') || /CERT|ISSUER|SIGNED|VERIFY|_CA$/.test(code)
}
