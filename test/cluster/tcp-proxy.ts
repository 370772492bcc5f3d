/** A wire between two servers that can be cut: what is sent then vanishes, and nobody is told. */
import { connect, createServer, type Socket } from 'node:net'
import { freePort } from '../setup/ports.ts'

export interface TcpProxy {
  readonly port: number
  /** Connections stay open, new ones are accepted, and no byte comes through. */
  cut(): void
  /** What hung is broken; new connections come through. */
  heal(): void
  close(): Promise<void>
}

export async function tcpProxy(targetPort: number): Promise<TcpProxy> {
  const port = await freePort()
  const sockets = new Set<Socket>()
  let isCut = false

  function track(socket: Socket): void {
    sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => sockets.delete(socket))
  }

  const server = createServer((near) => {
    track(near)
    if (isCut) {
      near.pause()
      return
    }
    const far = connect({ port: targetPort, host: '127.0.0.1' })
    track(far)
    near.pipe(far).pipe(near)
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))

  return {
    port,
    cut() {
      isCut = true
      for (const socket of sockets) socket.unpipe().pause()
    },
    heal() {
      isCut = false
      for (const socket of sockets) socket.destroy()
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** A proxy for each server's way to each other one. */
export interface ProxiedLinks {
  readonly ports: readonly number[]
  /** How the server of that number reaches the others. */
  peersOf(index: number): string[]
  /** Nobody listens there: servers learn no way around the proxies from each other. */
  readonly advertise: number
  /** Cuts this server off from all others. */
  cutOff(index: number): void
  heal(): void
  close(): Promise<void>
}

export async function proxiedLinks(ports: readonly number[]): Promise<ProxiedLinks> {
  const ways: { readonly from: number; readonly to: number; readonly proxy: TcpProxy }[] = []
  for (let from = 0; from < ports.length; from++) {
    for (const [to, port] of ports.entries()) if (to !== from) ways.push({ from, to, proxy: await tcpProxy(port) })
  }
  return {
    ports,
    advertise: await freePort(),
    peersOf: (index) => ways.filter(({ from }) => from === index).map(({ proxy }) => `127.0.0.1:${proxy.port}`),
    cutOff(index) {
      for (const { from, proxy, to } of ways) if (from === index || to === index) proxy.cut()
    },
    heal() {
      for (const { proxy } of ways) proxy.heal()
    },
    async close() {
      await Promise.all(ways.map(({ proxy }) => proxy.close()))
    },
  }
}
