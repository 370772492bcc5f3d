import type { IncomingMessage } from 'node:http'
import { labError } from './lab-error.ts'

/**
 * Any page in the visitor's browser can send requests to a loopback port. A foreign `Origin`, or a `Host` that is a name pointed at
 * 127.0.0.1 (DNS rebinding), is refused.
 */
export function refuseForeign(request: IncomingMessage, port: number): void {
  const hosts = [`127.0.0.1:${port}`, `localhost:${port}`]
  const { host, origin } = request.headers
  if (host === undefined || !hosts.includes(host.toLowerCase())) throw labError(403, 'HOST_REFUSED', `Use http://${hosts[0]} for the lab.`)
  if (origin !== undefined && !hosts.some((name) => origin.toLowerCase() === `http://${name}`))
    throw labError(403, 'ORIGIN_REFUSED', 'Only the control page itself may use the lab.')
}
