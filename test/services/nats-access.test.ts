import { execFileSync } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { type RunningNats, startNats } from '../setup/nats.ts'
import { waitFor } from '../setup/servers.ts'
import { allLinked, startServer, talk } from '../unit/transports/nats-server.ts'
import { closeAll } from '../unit/transports/recorded.ts'

const PASSWORD = 'gehe1m-passw0rd'
const release: (() => Promise<unknown>)[] = []
afterEach(async () => {
  await closeAll()
  for (const end of release.splice(0).reverse()) await end()
})

async function started(nats: Promise<RunningNats>): Promise<RunningNats> {
  const server = await nats
  release.push(() => server.stop())
  return server
}

describe('nats - credentials', () => {
  test('user and password, or a token, get in; wrong ones are said without being quoted, and tried again', async () => {
    const nats = await started(startNats({ args: ['--user', 'holdfast', '--pass', PASSWORD] }))
    const a = await startServer({ node: 'a', servers: nats.url, user: 'holdfast', pass: PASSWORD })
    const b = await startServer({
      node: 'b',
      servers: nats.url,
      authenticator: () => ({ user: 'holdfast', pass: PASSWORD }),
    })
    await allLinked(a, b)
    await talk(a, b)
    const wrong = await startServer({ node: 'c', servers: nats.url, user: 'holdfast', pass: 'wr0ng-password' })
    expect(wrong.warnings).toEqual([expect.stringMatching(/cannot be reached \(it refuses the credentials\)/)])
    expect(wrong.warnings.join()).not.toMatch(/wr0ng|gehe1m|127\.0\.0\.1/)
    const byToken = await started(startNats({ args: ['--auth', PASSWORD] }))
    const token = await startServer({ node: 'd', servers: byToken.url, token: PASSWORD })
    expect(token.warnings).toEqual([])
  })

  test('an account that may not use its subjects is told what it needs', async () => {
    const config = `authorization { users = [ { user: u, password: "${PASSWORD}", permissions: { publish: "other.>", subscribe: "other.>" } } ] }`
    const nats = await started(startNats({ config }))
    const a = await startServer({ node: 'a', servers: nats.url, user: 'u', pass: PASSWORD })
    await waitFor(() => a.warnings.length > 0, 5_000, 'a warning')
    expect(a.warnings).toEqual([expect.stringMatching(/must be allowed to publish and subscribe on "hf\.>"/)])
  })
})

describe('nats - TLS', () => {
  /** A certificate that is its own authority, made by openssl (Debian: apt-get install openssl). */
  async function certificate(): Promise<{ file: string; keyFile: string; pem: string }> {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-nats-tls-'))
    release.push(() => rm(folder, { recursive: true }))
    const [file, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile]
    const names = ['-subj', '/CN=test', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
    execFileSync('openssl', ['req', '-x509', ...key, '-out', file, '-days', '2', ...names], { stdio: 'pipe' })
    // As root the server runs as another user, who has to read them.
    for (const path of [folder, file, keyFile]) await chmod(path, 0o755)
    return { file, keyFile, pem: await readFile(file, 'utf8') }
  }

  test('the server is verified: with its authority members link, without it nothing is sent', async () => {
    const { file, keyFile, pem } = await certificate()
    const nats = await started(startNats({ args: ['--tls', '--tlscert', file, '--tlskey', keyFile] }))
    const a = await startServer({ node: 'a', servers: `tls://localhost:${nats.port}`, tls: { ca: pem } })
    const b = await startServer({ node: 'b', servers: nats.url, tls: { caFile: file } })
    await allLinked(a, b)
    await talk(a, b)
    const stranger = await startServer({ node: 'c', servers: nats.url })
    expect(stranger.warnings).toEqual([expect.stringMatching(/cannot be reached \(DEPTH_ZERO_SELF_SIGNED_CERT\)/)])
    expect(stranger.transport.traffic().sentBytes).toBe(0)
  })

  test('a server that wants certificates of its clients gets them', async () => {
    const { file, keyFile, pem } = await certificate()
    const nats = await started(startNats({ args: ['--tlsverify', '--tlscert', file, '--tlskey', keyFile, '--tlscacert', file] }))
    const a = await startServer({ node: 'a', servers: nats.url, tls: { ca: pem, certFile: file, keyFile } })
    const without = await startServer({ node: 'b', servers: nats.url, tls: { ca: pem } })
    expect(a.warnings).toEqual([])
    expect(without.warnings).toHaveLength(1)
    expect(without.transport.peers()).toEqual([])
  })

  test('tls:// refuses a server without TLS', async () => {
    const nats = await started(startNats())
    const a = await startServer({ node: 'a', servers: nats.url.replace('nats://', 'tls://') })
    expect(a.warnings).toEqual([expect.stringMatching(/cannot be reached/)])
    expect(a.transport.traffic().sentBytes).toBe(0)
  })
})
