/** `npm run lint`: types, lint and format, without tests. */
import { runChecks } from './lib/checks.ts'

process.exit((await runChecks()).failed.length > 0 ? 1 : 0)
