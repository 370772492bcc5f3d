/** A NATS transport under test, and that frames pass. */
import { randomBytes } from 'node:crypto'
import type { Transport } from '../../../src/seam.ts'
import { natsTransport, type NatsTransportOptions } from '../../../src/transports/nats.ts'
import { waitFor } from '../../setup/servers.ts'
import { type MemberOptions, memberOptions, type Recorded, SECRET, startRecorded } from './recorded.ts'

export interface Running extends Recorded {
  readonly transport: Transport
  sees(other: Running): boolean
  /** Events that are no frames. */
  moves(): string[]
  frames(): string[]
}

type StartOptions = MemberOptions & Partial<NatsTransportOptions> & Pick<NatsTransportOptions, 'servers'>

/** Silence short enough for tests that wait for it, long enough for a busy machine. */
export const SILENCE_MS = 2000

export async function startServer(options: StartOptions): Promise<Running> {
  const [member, rest] = memberOptions(options)
  const transport = natsTransport({ cluster: 'unit', secrets: SECRET, heartbeatMs: 200, silenceMs: SILENCE_MS, ...rest })
  const recorded = await startRecorded(transport, member)
  const { events } = recorded
  return {
    ...recorded,
    transport,
    sees: (other) => transport.peers().some((peer) => peer.incarnation === other.self.incarnation),
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
