// The texts of the page, in Chinese and English. The server's sentences are shown as they are.

import { settings } from "./settings.js";
import { recall, remember } from "./storage.js";
import { ACCOUNT_TEXTS } from "./texts-account.js";

const TEXTS = {
  ...ACCOUNT_TEXTS,
  "sign-in": ["登录", "Sign in"],
  toRegister: ["注册新账户", "Create an account"],
  toReset: ["忘记密码？", "Forgotten your password?"],
  toSignIn: ["返回登录", "Back to sign-in"],
  username: ["用户名", "User name"],
  usernameHint: ["登录时使用，之后不能更改。", "You sign in with it. It can’t be changed later."],
  looksLikeEmail: ["这看起来是邮箱，这里要填用户名。", "This looks like an email. The user name goes here."],
  notPlain: ["只用小写字母、数字和 . _ -，以字母或数字开头。", "Small letters, digits and . _ - only; not a sign first."],
  password: ["密码", "Password"],
  easy: ["很容易猜到：太常见，或与用户名相同。", "Easy to guess: very common, or the user name."],
  stay: ["在这台设备上保持登录", "Stay signed in on this device"],
  register: ["注册账户", "Create account"],
  registered: ["账户已创建，你已登录。", "Your account is created, and you are signed in."],
  registerLead: ["需要注册密钥，请向管理员索取。", "You need the registration key. Ask the administrator for it."],
  showName: ["显示名称", "Display name"],
  showNameHint: ["别人看到的名字，任何文字都可以。", "The name that others see, in any script."],
  showNameOptional: ["别人看到的名字，任何文字都可以。留空则用用户名。", "The name that others see, in any script. If empty, the user name."],
  newShowName: ["新的显示名称", "New display name"],
  email: ["邮箱", "Email"],
  registrationKey: ["注册密钥", "Registration key"],
  keyFromAdmin: ["由管理员提供。", "From the administrator."],
  registrationClosed: ["注册已关闭", "Registration is closed"],
  registrationClosedWhy: ["这里目前不接受新账户。可向管理员索取邀请链接。", "Ask the administrator for an invitation."],
  reset: ["重置密码", "Reset password"],
  resetLead: ["需要重置密钥，请向管理员索取。所有已登录的设备都会退出。", "You need the reset key. Ask the administrator for it. Every device will be signed out."],
  resetKey: ["重置密钥", "Reset key"],
  resetClosed: ["密码重置已关闭", "Password reset is closed"],
  resetClosedWhy: ["请联系管理员。", "Ask the administrator."],
  onward: ["登录后将前往 {0}", "to continue to {0}"],
  going: ["已登录，正在前往 {0}…", "You are signed in. Going to {0}…"],
  continueTo: ["前往 {0}", "Continue to {0}"],
  signInOnce: ["请再登录一次，这样 {0} 才知道你是谁。", "Please sign in once more, so that {0} knows who you are."],
  signInAgain: ["重新登录", "Sign in again"],
  cookieBlocked: ["你已登录，但浏览器没有保存 {0} 需要的 Cookie。请允许 {1} 使用 Cookie，然后重新登录。", "You are signed in here, but your browser did not keep the cookie that {0} needs. Allow cookies for {1}, then sign in again."],
  unchecked: ["你已登录，但无法确认 {0} 是否会放行。", "You are signed in, but {0} may not know it."],
  sentBack: ["你已登录，但 {0} 又让你回到了这里。如果再次出现，请管理员检查它前面的代理。", "You are signed in, but {0} sent you back here. If it does so again, ask the administrator to check its proxy."],
  returnRefused: ["要返回的地址不属于这里，登录后会留在本页。", "The address to return to does not belong here. You will stay on this page."],
  pageElsewhere: ["本页的地址是 {0}，但共用登录只在 {1} 及其子域名下有效。请改用那里的地址打开本页。", "This page was opened at {0}, but the shared sign-in works only at {1} and below. Open it there."],
  linkDead: ["链接已失效", "This link no longer works"],
  linkDeadWhy: ["链接已被使用、撤销或取代，或者已过期。请向管理员索取新的。", "The link was used, withdrawn or replaced, or it has expired. Ask the administrator for a new one."],
  useKey: ["改用密钥", "Use a key instead"],
  linkGroups: ["你将加入用户组：{0}。", "Your groups: {0}."],
  linkUntil: ["链接有效期至 {0:time}。", "The link is good until {0:time}."],
  keyFromLink: ["已从链接填入。", "Filled in from your link."],
  inviteLinkLead: ["你受邀在这里注册账户。", "You are invited to create an account here."],
  resetLinkLead: ["这个链接用来为 {0} 设置新密码。请填写该账户的邮箱。所有已登录的设备都会退出。", "This link sets a new password for {0}. Enter the account’s email. Every device will be signed out."],
  newPassword: ["新密码", "New password"],
  setPassword: ["设置新密码", "Set new password"],
  number: ["编号", "Account number"],
  account: ["账户", "Account"],
  signOut: ["退出登录", "Sign out"],
  signOutEverywhere: ["退出所有设备", "Sign out everywhere"],
  picture: ["头像", "Picture"],
  pictureHint: ["选择图片、拖到这里或直接粘贴，然后裁剪成正方形。动图只保留一帧。", "Choose, drop or paste a picture, then crop it to a square. A moving one stands still."],
  choose: ["选择图片…", "Choose a picture…"],
  yourPicture: ["当前头像", "Your picture"],
  save: ["保存", "Save"],
  freshKey: ["更换密钥", "Replace the key"],
  freshKeyWhy: ["旧密钥会立刻失效，使用它的程序需要新密钥。", "The old key ends at once. Programs that use it need the new one."],
  freshKeyYes: ["更换", "Replace"],
  cancel: ["取消", "Cancel"],
  oldPassword: ["当前密码", "Current password"],
  passwordHint: ["修改后需要在所有设备上重新登录。", "You will be signed out everywhere and sign in anew."],
  changePassword: ["修改密码", "Change password"],
  show: ["显示", "Show"],
  hide: ["隐藏", "Hide"],
  captcha: ["图片中的字符", "Characters in the picture"],
  captchaPicture: ["六个字符的图片", "Picture of six characters"],
  captchaAgain: ["换一张", "Another one"],
  captchaHint: ["不区分大小写。", "Capitals do not matter."],
  captchaNew: ["上一张已过期，这是新的。", "The last one expired. This is a new one."],
  captchaWait: ["取图太频繁，{0} 秒后换一张。", "Too many pictures. Another one comes in {0} s."],
  captchaNone: ["没有取到图片，请换一张。", "No picture could be fetched. Ask for another one."],
  otp: ["二步验证码", "Second step"],
  otpHint: ["验证器应用里的六位数字。", "The six digits from your app."],
  otpRecovery: ["改用恢复码", "Use a recovery code"],
  otpWanted: ["请再填写二步验证码。", "One more step: please enter your code."],
  crop: ["裁剪头像", "Crop your picture"],
  stage: ["裁剪区域", "The picture behind its square frame"],
  cropHint: ["拖动图片或用方向键移动，用滑块、滚轮或 + 和 − 缩放。", "Drag it or use the arrow keys; zoom with the slider, the wheel, or + and −."],
  zoom: ["缩放", "Zoom"],
  upload: ["使用这张图片", "Use this picture"],
  progress: ["上传进度", "Upload"],
  uploading: ["正在上传 {0}（{1} × {1} 像素）…", "Sending {0} ({1} × {1} pixels)…"],
  noPicture: ["浏览器无法读取这个文件：不是图片，或者已损坏。", "Your browser can’t read this file: it is not a picture, or damaged."],
  foreignPicture: ["浏览器打不开 {0} 图片，请先转成 JPEG。", "Your browser can’t open {0} pictures. Make it a JPEG first."],
  cutPicture: ["文件不完整，缺了结尾。", "This file is incomplete: its end is missing."],
  noPictureFits: ["这张图片无法变成大于 {0} 且不超过 {1} 的文件。", "This picture can’t be made a file of more than {0} and at most {1}."],
  absent: ["请填写。", "Please fill this in."],
  tooLong: ["最多 {0} 个字符，现在有 {1} 个。", "At most {0} characters; this has {1}."],
  tooShort: ["至少 {0} 个字符。", "At least {0} characters."],
  badEmail: ["这不像是邮箱地址。", "This does not look like an email address."],
  offline: ["连接不上服务器。", "The server can’t be reached."],
  proxy: ["服务器或它前面的代理返回了 HTTP {0}。", "The server, or a proxy before it, answered HTTP {0}."],
  unknown: ["服务器没有接受（{0}）。", "The server refused this ({0})."],
  retry: ["重试", "Try again"],
  wait: ["请等待 {0} 秒", "Wait {0} s"],
  waited: ["现在可以再试了。", "You can try again now."],
  working: ["请稍候…", "One moment…"],
  expired: ["登录已失效，请重新登录。", "Your session has ended. Please sign in again."],
  signedOut: ["你已退出登录。", "You are signed out."],
  signedOutEverywhere: ["所有设备都已退出登录。", "You are signed out on all devices."],
  signedOutOffline: ["这台设备已退出，但没能通知服务器，会话到期前仍然有效。", "You are signed out on this device. The server could not be told, so the session lasts until it expires."],
  signedOutElsewhere: ["你已在另一个标签页退出登录。", "You signed out in another tab."],
};

// The page's own sentences for answers, by interface and code or by code alone, and the name of the
// field at fault.
const WRONG = ["字符不对或图片已过期，这是新的一张。", "Wrong characters, or the picture had expired. Here is a new one.", "verification_code"];
const CHANGED = ["密码已修改，请用新密码登录。", "Your password is changed. Sign in with the new one."];
const FAILED = ["服务器出错了，请稍后再试。", "The server failed. Please try again later."];
const ANSWERS = {
  "registered 200": ["账户已创建，现在可以登录。", "Your account is created. You can sign in now."],
  "registered 403": ["注册密钥不对。", "The registration key is not right.", "key"],
  "registered 503": TEXTS.registrationClosed,
  "registered 603 or common": ["密码太容易猜，请换一个。", "This password is too easy to guess.", "passwd"],
  "registered 604": ["用户名或邮箱已被别人使用。", "Another account has this user name or this email.", "username"],
  "login 604": ["用户名或密码不对。", "The user name or the password is not right.", "passwd"],
  "update_password 200": CHANGED,
  "update_password 404": ["当前密码不对。", "The current password is not right.", "old_passwd"],
  "update_password 404 or common": ["当前密码不对，或新密码太容易猜。", "The current password is not right, or the new one is too easy to guess.", "old_passwd"],
  "update_show_name 200": ["显示名称已修改。", "Your display name is changed."],
  "update_key 200": ["密钥已更换，旧的已失效。", "This is your new key. The old one no longer works."],
  "forget_password 200": CHANGED,
  "forget_password 403": TEXTS.resetClosed,
  "forget_password 404": ["重置密钥不对。", "The reset key is not right.", "key"],
  "forget_password 501": ["用户名和邮箱不符。", "User name and email are not of one account.", "email"],
  "forget_password 501 or common": ["用户名和邮箱不符，或密码太容易猜。", "User name and email are not of one account, or the password is too easy to guess.", "email"],
  "upload_avatar 169": ["服务器没有接受这张图片。", "The server did not take this picture."],
  "upload_avatar 200": ["头像已更换。", "This is your picture now."],
  "logout 200": TEXTS.signedOut,
  "link_info 404": TEXTS.linkDead,
  "totp_begin 503": ["这台服务器没有开启二步验证功能。", "This server does not offer the second step."],
  "totp_begin 606": ["二步验证已经开启。", "The second step is on already."],
  "totp_confirm 200": ["二步验证已开启。", "The second step is on."],
  "totp_confirm 606": ["请重新开始。", "Please begin anew."],
  "totp_end 200": ["二步验证已关闭。", "The second step is off."],
  "totp_end 606": ["二步验证没有开启。", "The second step is not on."],
  "update_email 200": ["邮箱已修改。", "Your email is changed."],
  "update_email 607": ["这个邮箱已被别人使用。", "Another account has this email.", "new_email"],
  "delete_account 200": ["账户已删除。", "Your account is deleted."],
  403: TEXTS.expired,
  404: FAILED,
  400: FAILED,
  603: FAILED,
  503: WRONG,
  504: WRONG,
  505: WRONG,
  604: ["密码不对。", "The password is not right.", "passwd"],
  605: ["二步验证码不对，或者已经用过。", "This code is not right, or was used before.", "otp"],
  "HTTP 404": ["服务器没有这个功能。", "The server does not have this function."],
  "HTTP 413": ["内容太大，服务器或它前面的代理没有接受（HTTP 413）。", "Too large for the server, or a proxy before it (HTTP 413)."],
  "HTTP 429": ["请求太频繁，请等按钮恢复。", "That was too often. Please wait for the button."],
  "HTTP 500": FAILED,
  "HTTP 503": ["服务器正忙，请稍后再试。", "The server is busy. Please try again soon."],
};

const LANGUAGES = ["zh-CN", "en"];
const REMEMBERED = "accountd.language";

let language = chosen();

function chosen() {
  const wishes = [recall("localStorage", REMEMBERED), ...navigator.languages];
  const first = wishes.map((wish) => wish?.slice(0, 2).toLowerCase()).find((wish) => wish === "zh" || wish === "en");
  return first === "zh" ? 0 : 1;
}

/// A text of the page in the current language.
export function t(name, ...values) {
  const text = (TEXTS[name] ?? ANSWERS[name])[language];
  return text.replace(/\{(\d)(:time)?\}/g, (_, nth, isTime) => (isTime ? time(values[nth]) : values[nth]));
}

/// The page's sentence for an answer: the name of a text, its values, and the name of the field at fault.
export function sentenceFor({ api, offline, proxy, status, code }) {
  if (offline) return { name: "offline" };
  const http = proxy ?? status;
  // If common passwords are refused, the same code may also mean that.
  const common = settings.common === "refused" && `${api} ${code} or common`;
  const names = http === 200 ? [common, `${api} ${code}`, code] : [`HTTP ${http}`];
  const name = names.find((name) => name in ANSWERS);
  // A proxy's page says something else about these than the server would.
  if (proxy && ![413, 429].includes(proxy)) return { name: "proxy", values: [proxy] };
  return name ? { name, field: ANSWERS[name][2] } : { name: "unknown", values: [code] };
}

/// Shows a text in an element. It is translated if the language changes.
export function say(element, name, ...values) {
  element.dataset.t = name;
  element.dataset.values = JSON.stringify(values);
  element.textContent = t(name, ...values);
}

/// A new element that shows a text.
export function make(tag, name, ...values) {
  const element = document.createElement(tag);
  say(element, name, ...values);
  return element;
}

/// Fills in all texts below an element.
export function translate(root) {
  for (const element of root.querySelectorAll("[data-t]")) {
    element.textContent = t(element.dataset.t, ...JSON.parse(element.dataset.values ?? "[]"));
  }
  for (const element of root.querySelectorAll("[data-label]")) {
    element.ariaLabel = t(element.dataset.label);
  }
}

/// Unix seconds as a readable text.
const time = (seconds) =>
  new Date(seconds * 1000).toLocaleString(LANGUAGES[language], { dateStyle: "long", timeStyle: "short" });

/// A size in bytes as a readable text.
export const size = (bytes) => `${(bytes / 1024).toFixed(1)} KB`;

/// Connects the button that switches the language. `after` is called when the page is translated.
export function languages(button, after) {
  const show = () => {
    document.documentElement.lang = LANGUAGES[language];
    button.lang = LANGUAGES[1 - language];
    button.textContent = ["English", "中文"][language];
    translate(document);
    after();
  };
  button.addEventListener("click", () => {
    language = 1 - language;
    remember("localStorage", REMEMBERED, LANGUAGES[language]);
    show();
  });
  show();
}
