/** The HTML of a webview: nothing may load but our own script and style, and no text is ever markup. */

import { randomBytes } from "node:crypto";
import * as vscode from "vscode";

/** Return the page whose content the script of this name makes. */
export function pageHtml(webview: vscode.Webview, extension: vscode.Uri, script: string, title: string): string {
  const nonce = randomBytes(16).toString("base64url");
  const source = (...path: string[]) => webview.asWebviewUri(vscode.Uri.joinPath(extension, ...path)).toString();
  const policy = `default-src 'none'; style-src ${webview.cspSource}; script-src 'nonce-${nonce}'`;
  return `<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta http-equiv="Content-Security-Policy" content="${policy}">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <link rel="stylesheet" href="${source("media", "page.css")}">
  <title>${title}</title>
</head>
<body>
  <script nonce="${nonce}" src="${source("dist", "webview", `${script}.js`)}"></script>
</body>
</html>`;
}

export function pageOptions(extension: vscode.Uri): vscode.WebviewOptions {
  const roots = [vscode.Uri.joinPath(extension, "media"), vscode.Uri.joinPath(extension, "dist", "webview")];
  return { enableScripts: true, localResourceRoots: roots };
}
