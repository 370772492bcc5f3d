/** A real NATS transport under test with everything it told. */
import { randomBytes } from 'node:crypto'
import { systemRuntime } from '../../../src/core/runtime.ts'
import type { Peer, Runtime, Transport } from '../../../src/seam.ts'
import { natsTransport, type NatsTransportOptions } from '../../../src/transports/nats.ts'
import { waitFor } from '../../setup/servers.ts'

export const SECRET = 'the first secret of this test, long enough'
export const OTHER_SECRET = 'the other secret of this test, long enough'

export interface Running {
  readonly self: Peer
  readonly transport: Transport
  /** `up b`, `down b: why`, `frame b text` in order. */
  readonly events: string[]
  readonly warnings: string[]
  sees(other: Running): boolean
  send(to: Running, text: string): boolean
  /** Events that are no frames. */
  moves(): string[]
  frames(): string[]
}

export interface StartOptions extends Partial<NatsTransportOptions> {
  node?: string
  incarnation?: string
  runtime?: Runtime
  onFrame?: (body: Buffer) => void
}

const running: Transport[] = []

export async function closeAll(): Promise<void> {
  await Promise.all(running.splice(0).map((transport) => transport.close()))
}

/** Silence short enough for tests that wait for it, long enough for a busy machine. */
export const SILENCE_MS = 2000

export async function startServer(options: StartOptions & Pick<NatsTransportOptions, 'servers'>): Promise<Running> {
  const { node = `n${running.length + 1}`, incarnation = `${node}-${randomBytes(6).toString('hex')}`, runtime, onFrame, ...rest } = options
  const transport = natsTransport({ cluster: 'unit', secrets: SECRET, heartbeatMs: 200, silenceMs: SILENCE_MS, ...rest })
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
    down: (peer, why) => void events.push(`down ${peer.node}: ${why}`),
  })
  return {
    self,
    transport,
    events,
    warnings,
    sees: (other) => transport.peers().some((peer) => peer.incarnation === other.self.incarnation),
    send: (to, text) => transport.send(to.self.incarnation, Buffer.from(text)),
    moves: () => events.filter((event) => !event.startsWith('frame ')),
    frames: () => events.filter((event) => event.startsWith('frame ')),
  }
}

export async function allLinked(...servers: readonly Running[]): Promise<void> {
  await waitFor(() => servers.every((a) => servers.every((b) => a === b || a.sees(b))), 15_000, 'all servers see each other')
}

/** Frames pass, both ways. */
export async function talk(a: Running, b: Running): Promise<void> {
  const text = randomBytes(4).toString('hex')
  await waitFor(() => a.send(b, `to ${text}`), 10_000, 'a takes a frame')
  await waitFor(() => b.send(a, `back ${text}`), 10_000, 'b takes a frame')
  await waitFor(() => b.events.includes(`frame ${a.self.node} to ${text}`), 10_000, 'the frame arrived')
  await waitFor(() => a.events.includes(`frame ${b.self.node} back ${text}`), 10_000, 'the answer arrived')
}
