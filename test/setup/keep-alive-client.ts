/** Requests over kept connections, for tests that send thousands. */
import { Agent, request } from 'node:http'

const DEADLINE_MS = 10_000

export interface PlainAnswer {
  readonly status: number
  readonly body: string
  readonly setCookies: readonly string[]
}

export class KeepAliveClient {
  readonly #agent: Agent
  readonly #url: string

  constructor(url: string, connections: number) {
    this.#url = url
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections })
  }

  /** Rejects when the connection fails or nothing arrives within 10 s. */
  send(method: 'GET' | 'POST', path: string, cookie: string, content?: string): Promise<PlainAnswer> {
    return new Promise((resolve, reject) => {
      const headers = cookie === '' ? {} : { cookie }
      const sent = request(new URL(path, this.#url), { method, agent: this.#agent, headers, timeout: DEADLINE_MS }, (response) => {
        let body = ''
        response.setEncoding('utf8').on('data', (chunk: string) => void (body += chunk))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body, setCookies: response.headers['set-cookie'] ?? [] }))
        response.on('error', reject)
      })
      sent.on('timeout', () => sent.destroy(new Error('no answer')))
      sent.on('error', reject)
      sent.end(content)
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}
