import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TcpTransportOptions } from '../../../src/transports/tcp.ts'

/** A fresh authority and one certificate signed by it, made by openssl (Debian: apt-get install openssl). */
export function makeCertificates(): NonNullable<TcpTransportOptions['tls']> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-mtls-'))
  const openssl = (...args: string[]): void => {
    try {
      execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
    } catch (error) {
      throw new Error('these tests make certificates with openssl: install it (Debian: apt-get install openssl)', { cause: error })
    }
  }
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  try {
    openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=test authority')
    openssl('req', ...key, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=server')
    writeFileSync(join(folder, 'server.ext'), 'basicConstraints=CA:FALSE\n')
    const sign = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'server.ext']
    openssl('x509', '-req', '-in', 'server.csr', ...sign, '-out', 'server.pem')
    const read = (name: string): string => readFileSync(join(folder, name), 'utf8')
    return { cert: read('server.pem'), key: read('server.key'), ca: read('ca.pem') }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
